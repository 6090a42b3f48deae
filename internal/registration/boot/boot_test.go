package boot

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/victorinix/vic/efi"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/locate"
	"github.com/victorinix/vic/internal/registration/regtest"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

var kinds = registration.Kinds{
	EntryKind:    {Version: Version, New: func() registration.Change { return new(Entry) }},
	VariableKind: {Version: Version, New: func() registration.Change { return new(Variable) }},
	GrubKind:     {Version: Version, New: func() registration.Change { return new(GrubVariable) }},
}

var partition = efi.HardDrive{Number: 1, Start: 2048, Size: 8192, Partition: efi.GUID{1, 2, 3}}

// firmware is a directory as efivarfs shows it, with two entries, and a number
// in BootOrder of one that is gone.
func firmware(t *testing.T) (efi.Variables, string) {
	t.Helper()
	dir := regtest.Dir(t)
	v := efi.Efivarfs(dir)
	for _, label := range []string{"Windows Boot Manager", "debian"} {
		e := efi.Entry{Label: label, Partition: partition, Path: `\EFI\` + label + `\x.efi`}
		if _, err := efi.AddBootEntry(v, e, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := efi.SetBootOrder(v, []uint16{1, 2, 0}); err != nil {
		t.Fatal(err)
	}
	return v, dir
}

func snapshot(t *testing.T, v efi.Variables) string {
	t.Helper()
	names, err := v.List()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, n := range names {
		data, a, err := v.Get(n)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %d %s\n", n, a, hex.EncodeToString(data))
	}
	return b.String()
}

func entry(place string) *Entry {
	return &Entry{Label: "vic", Partition: partition, Path: `\EFI\vic\vic.efi`, Place: place}
}

func TestBoot(t *testing.T) {
	for _, place := range []string{First, Last, None} {
		v, _ := firmware(t)
		regtest.Run(t, regtest.Host{
			Kinds: kinds, Env: registration.Env{Variables: v},
			Changes:  func() []registration.Change { return []registration.Change{entry(place), BootNext(3)} },
			Snapshot: func() string { return snapshot(t, v) },
		})
	}
}

// Another system makes the entry, under a number of its own, or never does.
func TestAnnounced(t *testing.T) {
	floating := func() *Entry {
		e := entry(Last)
		e.Floating = true
		return e
	}
	for name, tt := range map[string]struct {
		other func(efi.Variables) error
		want  []string
		stays bool
	}{
		"never": {func(efi.Variables) error { return nil }, []string{"was as before"}, false},
		"last": {func(v efi.Variables) error {
			_, err := efi.AddBootEntry(v, efi.Entry{Label: "vic", Partition: partition, Path: `\EFI\vic\vic.efi`}, false)
			return err
		}, []string{"taken back"}, false},
		"first, as it commits": {func(v efi.Variables) error {
			_, err := efi.AddBootEntry(v, efi.Entry{Label: "vic", Partition: partition, Path: `\EFI\vic\vic.efi`}, true)
			return err
		}, []string{"taken back"}, false},
		"of another label": {func(v efi.Variables) error {
			_, err := efi.AddBootEntry(v, efi.Entry{Label: "theirs", Partition: partition, Path: `\EFI\vic\vic.efi`}, false)
			return err
		}, []string{"was as before"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			v, _ := firmware(t)
			before := snapshot(t, v)
			s := open(t, registration.Env{Variables: v})
			if _, err := s.Announce(t.Context(), floating()); err != nil {
				t.Fatal(err)
			}
			if now := snapshot(t, v); now != before {
				t.Error(regtest.Diff(before, now))
			}
			// Something else takes the number that was free.
			taken := efi.Entry{Label: "USB", Partition: partition, Path: `\USB`}
			num, err := efi.AddBootEntry(v, taken, false)
			if err == nil {
				err = tt.other(v)
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := undo(t, s); !slices.Equal(got, tt.want) {
				t.Errorf("undone: %q, want %q", got, tt.want)
			}
			if err := efi.RemoveBootEntry(v, num); err != nil {
				t.Fatal(err)
			}
			if now := snapshot(t, v); (now == before) == tt.stays {
				t.Error(regtest.Diff(before, now))
			}
		})
	}
	v, _ := firmware(t)
	s := open(t, registration.Env{Variables: v}, entry(None))
	if _, err := s.Announce(t.Context(), floating()); err == nil || !strings.Contains(err.Error(), "there is a boot entry Boot0003 \"vic\" already") {
		t.Error(err)
	}
}

func TestVariables(t *testing.T) {
	v, _ := firmware(t)
	if err := efi.SetBootNext(v, 1); err != nil { // somebody's own
		t.Fatal(err)
	}
	regtest.Run(t, regtest.Host{
		Kinds: kinds, Env: registration.Env{Variables: v},
		Changes: func() []registration.Change {
			return []registration.Change{entry(None), BootNext(3), LoaderOneShot("vic-stage.conf")}
		},
		Snapshot: func() string { return snapshot(t, v) },
	})
}

func TestEmptyFirmware(t *testing.T) {
	v := efi.MapVariables{}
	regtest.Run(t, regtest.Host{
		Kinds: kinds, Env: registration.Env{Variables: v},
		Changes:  func() []registration.Change { return []registration.Change{entry(First)} },
		Snapshot: func() string { return snapshot(t, v) },
	})
	s := regtest.Open(t, regtest.Host{Kinds: kinds}, t.TempDir(), nil)
	defer s.Close()
	if _, err := s.Do(t.Context(), entry(First)); !errors.Is(err, errNoVariables) {
		t.Error(err)
	}
}

// open makes changes and returns the store.
func open(t *testing.T, env registration.Env, changes ...registration.Change) *registration.Store {
	t.Helper()
	s := regtest.Open(t, regtest.Host{Kinds: kinds, Env: env}, regtest.Dir(t), nil)
	t.Cleanup(func() { _ = s.Close() })
	for _, c := range changes {
		if _, err := s.Do(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// undo returns what it came to.
func undo(t *testing.T, s *registration.Store) []string {
	t.Helper()
	list, err := s.Undo(t.Context(), registration.Selection{All: true})
	if err != nil {
		t.Fatal(err)
	}
	var did []string
	for _, o := range list {
		did = append(did, strings.TrimSuffix(string(o.Did)+": "+o.Reason, ": "))
	}
	return did
}

// What the firmware and others do to the entries in the meantime.
func TestOthersChangedBoot(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		others    func(v efi.Variables)
		want      []string
		wantOrder []uint16
	}{
		"another entry is added": {
			func(v efi.Variables) {
				_, err := efi.AddBootEntry(v, efi.Entry{Label: "USB", Partition: partition, Path: `\USB`}, true)
				must(err)
			},
			[]string{"taken back", "taken back"}, []uint16{4, 1, 2, 0},
		},
		"the order is another": {
			func(v efi.Variables) { must(efi.SetBootOrder(v, []uint16{0, 3, 1})) },
			[]string{"taken back", "taken back"}, []uint16{0, 1},
		},
		"the entry is removed": {
			func(v efi.Variables) { must(efi.RemoveBootEntry(v, 3)) },
			[]string{"was as before", "was as before"}, []uint16{1, 2, 0},
		},
		"the firmware has acted": {
			func(v efi.Variables) { must(v.Delete(bootVariable("BootNext"))) },
			[]string{"was as before", "taken back"}, []uint16{1, 2, 0},
		},
		"the number is of another": {
			func(v efi.Variables) {
				must(efi.RemoveBootEntry(v, 3))
				_, err := efi.AddBootEntry(v, efi.Entry{Label: "other", Partition: partition, Path: `\X`}, false)
				must(err)
			},
			[]string{"was as before", `left alone: Boot0003 is another entry now ("other")`}, []uint16{1, 2, 0, 3},
		},
		"it is deactivated": {
			func(v efi.Variables) {
				data, _, err := v.Get(bootVariable("Boot0003"))
				must(err)
				data[0] = 0
				must(v.Set(bootVariable("Boot0003"), data, bootAttributes))
			},
			[]string{"taken back", "taken back"}, []uint16{1, 2, 0},
		},
		"another is next": {
			func(v efi.Variables) { must(efi.SetBootNext(v, 0)) },
			[]string{"left alone: somebody set it to 0000", "taken back"}, []uint16{1, 2, 0},
		},
	} {
		v, _ := firmware(t)
		s := open(t, registration.Env{Variables: v}, entry(First), BootNext(3))
		tt.others(v)
		got := undo(t, s)
		order, err := efi.BootOrder(v)
		if err != nil || !slices.Equal(got, tt.want) || !slices.Equal(order, tt.wantOrder) {
			t.Errorf("%s: %q, order %v, %v", name, got, order, err)
		}
		if _, _, err := v.Get(bootVariable("Boot0003")); !errors.Is(err, os.ErrNotExist) && !slices.Contains(order, 3) {
			t.Errorf("%s: the entry is there: %v", name, err)
		}
	}
}

func TestReplacedEntry(t *testing.T) {
	v, _ := firmware(t)
	s := open(t, registration.Env{Variables: v}, entry(First))
	o := efi.LoadOption{Attributes: efi.LoadActive, Description: "other", Path: efi.DevicePath{partition.Node()}}
	data, err := o.Encode()
	if err == nil {
		err = v.Set(bootVariable("Boot0003"), data, bootAttributes)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := undo(t, s); !slices.Equal(got, []string{`left alone: Boot0003 is another entry now ("other")`}) {
		t.Errorf("%q", got)
	}
}

// grubenv makes a block with grub-editenv.
func grubenv(t *testing.T, settings ...string) string {
	t.Helper()
	path := filepath.Join(regtest.Dir(t), "grubenv")
	tooltest.Need(t, "grub-editenv")
	tooltest.Run(t, "grub-editenv", path, "create")
	if len(settings) > 0 {
		tooltest.Run(t, "grub-editenv", append([]string{path, "set"}, settings...)...)
	}
	return path
}

func list(t *testing.T, path string) map[string]string {
	t.Helper()
	m := map[string]string{}
	for line := range strings.Lines(tooltest.Run(t, "grub-editenv", path, "list")) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		m[name] = value
	}
	return m
}

func TestGrub(t *testing.T) {
	for _, settings := range [][]string{nil, {"saved_entry=0", `odd=a\b`}, {"next_entry=2", "saved_entry=Debian>1"}} {
		path := grubenv(t, settings...)
		before := list(t, path)
		regtest.Run(t, regtest.Host{
			Kinds:   kinds,
			Changes: func() []registration.Change { return []registration.Change{NextEntry(path, "vic stage")} },
			Snapshot: func() string {
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				return string(b)
			},
		})
		s := open(t, registration.Env{}, NextEntry(path, `vic \ stage`))
		want := maps.Clone(before)
		want["next_entry"] = `vic \ stage`
		if got := list(t, path); !maps.Equal(got, want) {
			t.Errorf("grub-editenv lists %q, want %q", got, want)
		}
		_ = s.Close()
	}
}

func TestGrubAbsent(t *testing.T) {
	dir := regtest.Dir(t)
	regtest.Run(t, regtest.Host{
		Kinds:    kinds,
		Changes:  func() []registration.Change { return []registration.Change{NextEntry(dir+"/grubenv", "vic")} },
		Snapshot: func() string { return regtest.Tree(t, dir) },
	})
}

// What GRUB and others do to the block in the meantime.
func TestOthersChangedGrub(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want string
		left map[string]string
	}{
		"GRUB has acted": {[]string{"set", "next_entry="}, "taken back", map[string]string{"saved_entry": "0"}},
		"unset":          {[]string{"unset", "next_entry"}, "was as before", map[string]string{"saved_entry": "0"}},
		"another value":  {[]string{"set", "next_entry=7"}, `left alone: somebody set it to "7"`, map[string]string{"saved_entry": "0", "next_entry": "7"}},
		"others are set": {[]string{"set", "saved_entry=3", "recordfail=1"}, "taken back", map[string]string{"saved_entry": "3", "recordfail": "1"}},
	} {
		path := grubenv(t, "saved_entry=0")
		s := open(t, registration.Env{}, NextEntry(path, "vic"))
		tooltest.Run(t, "grub-editenv", append([]string{path}, tt.args...)...)
		if got := undo(t, s); !slices.Equal(got, []string{tt.want}) {
			t.Errorf("%s: %q", name, got)
		}
		if got := list(t, path); !maps.Equal(got, tt.left) {
			t.Errorf("%s: %q is left", name, got)
		}
	}
}

// A power cut may leave one of the two sectors.
func TestGrubTorn(t *testing.T) {
	path := grubenv(t, "a="+strings.Repeat("x", 330), "b=1")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, registration.Env{}, NextEntry(path, strings.Repeat("y", 100)))
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	torn := append(slices.Clone(after[:512]), before[512:]...)
	if slices.Equal(torn, after) || slices.Equal(torn, before) {
		t.Fatal("the variable is not in both sectors")
	}
	if err := os.WriteFile(path, torn, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := undo(t, s); !slices.Equal(got, []string{"taken back"}) {
		t.Errorf("%q", got)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != string(before) {
		t.Errorf("%q %v", got, err)
	}
}

func TestGrubRefused(t *testing.T) {
	full := grubenv(t, "a="+strings.Repeat("x", 900))
	broken := filepath.Join(t.TempDir(), "grubenv")
	if err := os.WriteFile(broken, []byte("saved_entry=0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, g := range []*GrubVariable{
		NextEntry(full, strings.Repeat("y", 100)), NextEntry(broken, "x"),
		{File: locate.Place{Host: full}, Name: "a=b"},
	} {
		s := open(t, registration.Env{})
		if _, err := s.Do(t.Context(), g); err == nil || len(s.List(t.Context())) > 0 {
			t.Errorf("%s was done", g)
		}
		_ = s.Close()
	}
}

func FuzzBlock(f *testing.F) {
	f.Add(blockSignature + "a=b\nc=d\\\\\n" + strings.Repeat("#", 900))
	f.Add(blockSignature + "# WARNING\nnext_entry=\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) < BlockSize {
			text += strings.Repeat("#", BlockSize-len(text))
		}
		b, err := parseBlock(text)
		if err != nil {
			return
		}
		value := "a\\b\nc"
		after, err := b.set("vic", &value).encode()
		if err != nil {
			return // full
		}
		again, err := parseBlock(after)
		if err != nil {
			t.Fatalf("%q: %v", after, err)
		}
		if got := again.get("vic"); got == nil || *got != value {
			t.Fatalf("%q: %v", after, got)
		}
	})
}
