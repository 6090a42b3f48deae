package layout

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/google/uuid"

	"github.com/victorinix/vic/internal/nearest"
)

// formats are the file systems that can be made.
var formats = []string{"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "vfat", "exfat"}

// Validate checks all that can be known without a device. The error joins one
// *Error for each wrong thing.
func (l Layout) Validate() error { return join(l.problems()) }

// check collects what is wrong, and what has been seen once.
type check struct {
	errs   []*Error
	mounts map[string]string // mount point -> path of its content
	guids  map[string]string
}

func (l Layout) problems() []*Error {
	c := check{mounts: map[string]string{}, guids: map[string]string{}}
	if len(l.Disk) == 0 {
		c.fail("disk", "no disk is described")
	}
	for _, name := range slices.Sorted(maps.Keys(l.Disk)) {
		c.disk("disk."+name, l.Disk[name])
	}
	if len(c.errs) == 0 && c.mounts["/"] == "" {
		c.fail("disk", "nothing is mounted on /: a file system needs mountpoint: /")
	}
	return c.errs
}

func (c *check) fail(at, format string, args ...any) *Error {
	e := &Error{Path: at, Msg: fmt.Sprintf(format, args...)}
	c.errs = append(c.errs, e)
	return e
}

func (c *check) disk(at string, d Disk) {
	if d.Type != "" && d.Type != "disk" {
		c.fail(at+".type", "expected disk, got %q", d.Type)
	}
	if d.Device != "" && !path.IsAbs(d.Device) {
		c.fail(at+".device", "expected an absolute path, got %q", d.Device)
	}
	if _, err := parseQuantity(or(d.ImageSize, "0")); err != nil {
		c.fail(at+".imageSize", "%v", err)
	}
	at += ".content"
	if d.Content == nil {
		return
	}
	c.content(at, *d.Content)
}

// content checks what a device holds, by its type.
func (c *check) content(at string, content Content) {
	switch s := content.Spec.(type) {
	case *GPT:
		c.gpt(at, s)
	case *Filesystem:
		c.filesystem(at, s)
	}
}

func (c *check) gpt(at string, t *GPT) {
	switch {
	case len(t.Partitions) == 0:
		c.fail(at+".partitions", "no partition is described")
	case len(t.Partitions) > maxEntries:
		c.fail(at+".partitions", "%d partitions are described, at most %d fit", len(t.Partitions), maxEntries)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Partitions)) {
		c.partition(at+".partitions."+name, t.Partitions[name])
	}
}

func (c *check) partition(at string, p Partition) {
	if _, err := typeGUID(p.Type); err != nil {
		c.fail(at+".type", "%v", err)
	}
	c.quantities(at, p)
	if n := len(utf16.Encode([]rune(p.Label))); n > maxLabel || strings.ContainsFunc(p.Label, unicode.IsControl) {
		c.fail(at+".label", "expected at most %d printable characters (UTF-16), got %d: %q", maxLabel, n, p.Label)
	}
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
	if p.Content != nil {
		c.content(at+".content", *p.Content)
	}
}

func (c *check) quantities(at string, p Partition) {
	for key, s := range map[string]string{"start": p.Start, "end": p.End} {
		if _, err := parseQuantity(or(s, "0")); err != nil {
			c.fail(at+"."+key, "%v", err)
		}
	}
	if p.Size == "100%" || p.Size == "" {
		return
	}
	if q, err := parseQuantity(p.Size); err != nil || q.sign != 0 {
		c.fail(at+".size", "%v", badQuantity(p.Size))
	}
}

func (c *check) guid(at, s string) {
	key := strings.ToLower(s)
	switch {
	case !guidPattern.MatchString(s) || uuid.MustParse(s) == uuid.Nil:
		c.fail(at, "expected a UUID, got %q", s)
	case c.guids[key] != "":
		c.fail(at, "the same UUID as %s", c.guids[key])
	default:
		c.guids[key] = at
	}
}

func (c *check) filesystem(at string, f *Filesystem) {
	switch {
	case f.Format == "":
		c.fail(at, "format is missing, expected %s", strings.Join(formats, " or "))
	case slices.Contains(formats, f.Format):
	default:
		c.fail(at+".format", "unknown file system %q", f.Format).Nearest = nearest.Name(f.Format, formats)
	}
	if _, err := split(f.Format, f.ExtraArgs); err != nil {
		c.fail(at+".extraArgs", "%v", err)
	}
	for _, o := range f.MountOptions {
		if o == "" || strings.ContainsFunc(o, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
			c.fail(at+".mountOptions", "expected options without spaces, got %q", o)
		}
	}
	if f.Mountpoint != "" {
		c.mountpoint(at, f.Mountpoint)
	}
}

func (c *check) mountpoint(at, m string) {
	switch {
	case !path.IsAbs(m) || path.Clean(m) != m || strings.ContainsFunc(m, unicode.IsControl):
		c.fail(at+".mountpoint", "expected a plain absolute path, got %q", m)
	case c.mounts[m] != "":
		c.fail(at+".mountpoint", "%s is mounted a second time: first by %s", m, c.mounts[m])
	default:
		c.mounts[m] = at
	}
}
