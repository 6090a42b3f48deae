package layout

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/google/uuid"

	"github.com/victorinix/vic/internal/nearest"
)

// Validate checks all that can be known without a device. The error joins one
// *Error for each wrong thing. A layout does not have to hold a system: see
// ValidateSystem.
func (l Layout) Validate() error { return join(l.problems()) }

// ValidateSystem is Validate for a layout that a system is installed on.
func (l Layout) ValidateSystem() error {
	c := l.checked()
	if at, ok := c.mounts["/"]; !ok {
		c.fail("disk", "nothing is mounted on /: a file system needs mountpoint: /")
	} else if strings.HasPrefix(at, "nodev.") {
		c.fail(at, "/ is on no disk: what is installed there would be gone after a restart")
	}
	return join(c.errs)
}

func (l Layout) problems() []*Error { return l.checked().errs }

// check collects what is wrong, and what has been seen once.
type check struct {
	l    Layout
	errs []*Error

	mounts  map[string]string // mount point -> path of its content
	guids   map[string]string
	labels  map[string]string // of partitions
	mappers map[string]string // names below /dev/mapper
	devices map[string]string
	resume  string
	members map[Ref][]site
}

func (l Layout) checked() *check {
	c := &check{
		l: l, mounts: map[string]string{}, guids: map[string]string{}, labels: map[string]string{},
		mappers: map[string]string{}, devices: map[string]string{}, members: map[Ref][]site{},
	}
	if len(l.Disk) == 0 {
		c.absent("disk", "no disk is described")
	}
	for _, name := range sortedKeys(l.Disk) {
		c.disk("disk."+name, l.Disk[name])
	}
	c.groups()
	c.arrays()
	c.pools()
	c.bcachefs()
	c.nodevs()
	l.walk(c.content)
	c.assemblies()
	if _, err := l.Order(); err != nil {
		c.errs = append(c.errs, err.(*Error))
	}
	return c
}

func (c *check) fail(at, format string, args ...any) *Error {
	e := &Error{Path: at, Msg: fmt.Sprintf(format, args...)}
	c.errs = append(c.errs, e)
	return e
}

// absent is fail for something that is missing, and may stand where reading the
// layout failed.
func (c *check) absent(at, format string, args ...any) *Error {
	e := c.fail(at, format, args...)
	e.absent = true
	return e
}

// oneOf wants a word of a list, or none when it is empty.
func (c *check) oneOf(at, what, got string, want ...string) {
	if got != "" && !slices.Contains(want, got) {
		c.fail(at, "unknown %s %q, expected one of %s", what, got, strings.Join(want, ", ")).Nearest = nearest.Name(got, want)
	}
}

// once wants a name that was not used before.
func (c *check) once(seen map[string]string, at, what, name string) {
	if name == "" {
		return
	}
	if other, ok := seen[name]; ok {
		c.fail(at, "the same %s as %s: %q", what, other, name)
		return
	}
	seen[name] = at
}

func (c *check) disk(at string, d Disk) {
	c.oneOf(at+".type", "type", d.Type, "disk")
	if d.Device != "" && !path.IsAbs(d.Device) {
		c.fail(at+".device", "expected an absolute path, got %q", d.Device)
	}
	c.once(c.devices, at+".device", "device", d.Device)
	if d.Match != nil {
		c.match(at+".match", *d.Match)
	}
	if _, err := parseQuantity(or(d.ImageSize, "0")); err != nil {
		c.fail(at+".imageSize", "%v", err)
	}
}

func (c *check) gpt(s site, t *GPT) {
	at := s.path + ".partitions"
	if len(t.Partitions) > maxEntries {
		c.fail(at, "%d partitions are described, at most %d fit", len(t.Partitions), maxEntries)
	}
	var hybrid []string
	for _, name := range sortedKeys(t.Partitions) {
		p := t.Partitions[name]
		c.partition(at+"."+name, p)
		if p.Hybrid != nil {
			hybrid = append(hybrid, name)
			c.hybrid(at+"."+name+".hybrid", *p.Hybrid)
		}
	}
	if len(hybrid) > 3 {
		c.fail(at, "a hybrid MBR has room for 3 partitions, got %d: %s", len(hybrid), strings.Join(hybrid, ", "))
	}
}

func (c *check) hybrid(at string, h Hybrid) {
	if _, err := mbrType(h.MBRPartitionType); h.MBRPartitionType != "" && err != nil {
		c.fail(at+".mbrPartitionType", "%v", err)
	}
}

func (c *check) partition(at string, p Partition) {
	if _, err := typeGUID(p.Type); err != nil {
		c.fail(at+".type", "%v", err)
	}
	c.quantities(at, p)
	c.keep(at, p)
	if n := len(utf16.Encode([]rune(p.Label))); n > maxLabel || strings.ContainsFunc(p.Label, unicode.IsControl) {
		c.fail(at+".label", "expected at most %d printable characters (UTF-16), got %d: %q", maxLabel, n, p.Label)
	}
	c.once(c.labels, at+".label", "label", p.Label)
	if p.UUID != "" {
		c.guid(at+".uuid", p.UUID)
	}
	if p.Alignment < 0 {
		c.fail(at+".alignment", "expected a number of sectors, got %d", p.Alignment)
	}
	for _, bit := range p.Attribute {
		if bit < 0 || bit > 63 {
			c.fail(at+".attributes", "expected bits 0 to 63, got %d", bit)
		}
	}
}

func (c *check) quantities(at string, p Partition) {
	for _, q := range []struct{ key, value string }{{"start", p.Start}, {"end", p.End}} {
		if _, err := parseQuantity(or(q.value, "0")); err != nil {
			c.fail(at+"."+q.key, "%v", err)
		}
	}
	for _, q := range []struct{ key, value string }{{"size", p.Size}, {"resize", p.Resize}} {
		if q.value == "100%" || q.value == "" {
			continue
		}
		if v, err := parseQuantity(q.value); err != nil || v.sign != 0 {
			c.fail(at+"."+q.key, "%v", badQuantity(q.value))
		}
	}
	if p.End != "" && p.Size != "" && p.Size != "0" && p.End != p.sizeEnd() {
		c.fail(at+".size", "both size and end are given: %q and %q", p.Size, p.End)
	}
}

// keep finds what contradicts a partition that stays.
func (c *check) keep(at string, p Partition) {
	if !p.Keep {
		if p.Resize != "" {
			c.fail(at+".resize", "only a partition with keep: true can be resized")
		}
		return
	}
	for _, k := range []struct {
		key string
		set bool
	}{
		{"start", p.Start != "" && p.Start != "0"}, {"end", p.End != "" && p.End != p.sizeEnd()},
		{"alignment", p.Alignment != 0}, {"priority", p.Priority != nil}, {"hybrid", p.Hybrid != nil},
	} {
		if k.set {
			c.fail(at+"."+k.key, "a partition with keep: true stays where it is: leave %s out", k.key)
		}
	}
	if p.Resize != "" && p.Size != "" && p.Size != p.Resize {
		c.fail(at+".size", "the partition gets another size: resize is %s", p.Resize)
	}
}

func (c *check) guid(at, s string) {
	if !guidPattern.MatchString(s) || uuid.MustParse(s) == uuid.Nil {
		c.fail(at, "expected a UUID, got %q", s)
		return
	}
	c.once(c.guids, at, "UUID", strings.ToLower(s))
}

func (c *check) mountpoint(at, m string) {
	if m == "" {
		return
	}
	switch other, ok := c.mounts[m]; {
	case !path.IsAbs(m) || path.Clean(m) != m || strings.ContainsFunc(m, unicode.IsControl):
		c.fail(at+".mountpoint", "expected a plain absolute path, got %q", m)
	case ok:
		c.fail(at+".mountpoint", "%s is mounted a second time: first by %s", m, other)
	default:
		c.mounts[m] = at
	}
}

// options are of mount(8) and swapon(8).
func (c *check) options(at string, list []string) {
	for _, o := range list {
		if o == "" || strings.ContainsFunc(o, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
			c.fail(at, "expected options without spaces, got %q", o)
		}
	}
}

func (c *check) absolute(at, file string) {
	if file != "" && !path.IsAbs(file) {
		c.fail(at, "expected an absolute path, got %q", file)
	}
}
