package envscan

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/probe"
)

func ptr[T any](v T) *T { return &v }

// at encodes facts and returns the JSON text at a path; "absent" without.
func at(t *testing.T, f Facts, path string) string {
	t.Helper()
	v, err := Lookup(f, path)
	if errors.Is(err, ErrAbsent) || errors.Is(err, ErrNull) {
		return "absent"
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAbsentAndNull(t *testing.T) {
	disk := func(d Disk, gaps ...string) Facts {
		f := Facts{Schema: Schema, HW: HW{Arch: "amd64", Disk: []Disk{d, {Name: "sdb"}}}}
		for _, g := range gaps {
			f.Scan.Gaps = append(f.Scan.Gaps, Gap{Fact: g, Path: "/x", Why: "permission denied", Need: "root"})
		}
		return f
	}
	only := func(f Facts, paths ...string) Facts {
		f.Scan.Only = must(statics(paths))
		return f
	}
	tests := []struct {
		name string
		f    Facts
		want map[string]string
	}{
		{"zero values", disk(Disk{}), map[string]string{
			"hw.tpm": "null", "hw.dmi": "null", "hw.disk.0.name": "null", "hw.disk.0.links": "[]", "hw.disk.0.content": "[]", "hw.disk.0.table": "null",
			"hw.disk.0.swap": "false", "hw.disk.0.size": "0", "hw.cpu.level": "null", "state.sensors": "null", "hw.nic": "[]", "net.dns.server": "[]",
		}},
		{"a map with nothing in it", Facts{State: State{Links: map[string]Link{}}}, map[string]string{"state.links": "{}"}},
		{"a gap removes what is zero", disk(Disk{Name: "sda"}, "hw.disk[name=sda].serial", "hw.disk[name=sda].rotational", "hw.cpu"), map[string]string{
			"hw.disk.0.serial": "absent", "hw.disk.0.rotational": "absent", "hw.disk.0.wwn": "null", "hw.disk.1.serial": "null", "hw.cpu": "absent", "hw.cpu.count": "absent",
		}},
		{"and not what was found", disk(Disk{Name: "sda", Serial: "S"}, "hw.disk[name=sda].serial"), map[string]string{"hw.disk.0.serial": `"S"`}},
		{"a gap of what has something in it", disk(Disk{Name: "sda", Contents: Contents{Partition: []Partition{{Number: 1}}}}, "hw.disk[name=sda]"), map[string]string{
			"hw.disk.0.name": `"sda"`, "hw.disk.0.serial": "absent", "hw.disk.0.links": "absent", "hw.disk.0.rotational": "false", "hw.disk.0.size": "0",
			"hw.disk.0.partition.0.number": "1", "hw.disk.0.partition.0.name": "absent", "hw.disk.0.partition.0.offset": "0", "hw.disk.1.serial": "null",
		}},
		{"a gap of a list", disk(Disk{Name: "sda"}, "hw.disk", "hw.nic"), map[string]string{"hw.nic": "absent", "hw.disk.0.name": `"sda"`, "hw.disk.1.serial": "absent"}},
		{"a gap that means nothing", disk(Disk{Name: "sda"}, "hw.disk[name=sdz].serial", "]["), map[string]string{"hw.disk.0.serial": "null"}},
		{"a limited scan", only(disk(Disk{Name: "sda"}), "hw.disk[name=sda].serial", "os.id"), map[string]string{
			"hw.arch": "absent", "hw.disk.0.name": `"sda"`, "os.id": "null", "os.kernel": "absent", "state": "absent", "net": "absent", "scan.only": `["hw.disk","os.id"]`, "schema": `"vic.env/1"`,
		}},
		{"big integers", disk(Disk{Size: 1 << 53, Contents: Contents{Table: &layout.Table{Size: 1<<53 + 1, Entries: []layout.Entry{{Attributes: math.MaxUint64}}}, Partition: []Partition{{Offset: math.MinInt64}}}}), map[string]string{
			"hw.disk.0.size": "9007199254740992", "hw.disk.0.table.size": `"9007199254740993"`, "hw.disk.0.table.entries.0.attributes": `"18446744073709551615"`,
			"hw.disk.0.partition.0.offset": `"-9223372036854775808"`,
		}},
		{"a key with dots", Facts{
			State: State{Links: map[string]Link{"eth0": {}, "eth0.100": {}}},
			Scan:  Report{Gaps: []Gap{{Fact: "state.links.eth0.100.up"}}},
		}, map[string]string{"state.links.eth0.up": "false", "state.links.eth0.100.up": "absent", `state.links."eth0.100".carrier`: "false", "state.links.eth0.100.carrier": "false"}},
		{"types of other packages", disk(Disk{Contents: Contents{Content: []probe.Result{{Type: "ext4"}}}}), map[string]string{"hw.disk.0.content.0": `{"offset":0,"type":"ext4","usage":""}`}},
	}
	for _, tt := range tests {
		for path, want := range tt.want {
			if got := at(t, tt.f, path); got != want {
				t.Errorf("%s: %s is %s, want %s", tt.name, path, got, want)
			}
		}
	}
}

// full has something of every kind in it.
func full() Facts {
	return Facts{
		Schema: Schema,
		Scan:   Report{Version: "v1", Gaps: []Gap{{Fact: "hw.tpm", Path: "/dev/tpm0", Why: "permission denied", Need: "root"}}},
		HW: HW{
			Arch: "amd64", Firmware: Firmware{Type: "uefi", SecureBoot: ptr(true), Boot: []BootEntry{{Number: "0001", Label: "<&>"}}},
			DMI: &DMI{Product: "Example"}, CPU: CPU{Level: ptr(int64(3)), Flags: []string{"aes"}},
			Disk: []Disk{{
				Name: "sda", Size: math.MaxInt64, SMART: &SMART{Verdict: "ok"},
				Contents: Contents{
					Table:   &layout.Table{Kind: "gpt", GUID: uuid.UUID{1}, Entries: []layout.Entry{{Number: 1, LastLBA: math.MaxUint64, Attributes: 1 << 63}}},
					Content: []probe.Result{{Type: "ext4", Size: 1 << 60, Clean: ptr(true), Group: &probe.Group{Role: ptr(-1)}}},
					Use:     Use{Mounts: []string{"/"}, Swap: true},
				},
			}},
		},
		Net:   Net{DNS: DNS{Server: []string{"192.0.2.1"}}},
		OS:    OS{Type: "linux", Kexec: Kexec{Why: []string{"not root"}}},
		State: State{Links: map[string]Link{"eth0.1": {Up: true}}, Sensors: map[string]float64{"a/b.c/temp1": 42.5, "big": 1e300}, Disk: map[string]Health{"sda": {Written: ptr(int64(1 << 62))}}},
	}
}

func TestRoundTrip(t *testing.T) {
	f := full()
	for _, drop := range []bool{false, true} {
		if drop {
			f.Scan.Redacted = RedactDrop
		}
		doc, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		var back Facts
		if err := json.Unmarshal(doc, &back); err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		if !drop {
			if diff := cmp.Diff(f, back, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		}
		again, err := json.Marshal(back)
		if err != nil || string(again) != string(doc) {
			t.Errorf("%v\n%s\n%s", err, doc, again)
		}
	}
}

func TestUnmarshal(t *testing.T) {
	var f Facts
	old := `{"schema":"vic.env/1","gone":{"x":[1]},"hw":{"arch":"arm64","cpu":{"count":"4","shade":"blue"},"disk":[{"size":"9223372036854775807"}]}}`
	if err := json.Unmarshal([]byte(strings.Replace(old, `"4"`, "4", 1)), &f); err != nil || f.HW.Arch != "arm64" || f.HW.CPU.Count != 4 || f.HW.Disk[0].Size != math.MaxInt64 {
		t.Errorf("%+v %v", f, err)
	}
	for doc, want := range map[string]string{
		`{"schema":"vic.env/2"}`:         "its schema vic.env/2 is newer than vic.env/1: a newer vic reads it",
		`{"schema":"vic.env/x"}`:         `its schema is "vic.env/x" and not vic.env/1`,
		`{}`:                             "it has no schema, which would be vic.env/1",
		`[]`:                             "it has no schema",
		`null`:                           "it has no schema",
		old:                              "cannot unmarshal string",
		`{"schema":"vic.env/1","hw":[]}`: "cannot unmarshal array",
		strings.Repeat("[", 5000) + strings.Repeat("]", 5000): "levels deep",
	} {
		if err := f.UnmarshalJSON([]byte(doc)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v", doc, err)
		}
	}
	if err := json.Unmarshal([]byte(`{"schema":"vic.env/2"}`), &f); !errors.Is(err, ErrSchema) {
		t.Error(err)
	}
}

func TestDisksJSON(t *testing.T) {
	b, err := json.Marshal(Disks{Disk: []Disk{{Name: "sda"}, {Name: "sdb"}}, Gaps: []Gap{{Fact: "hw.disk[name=sda].serial"}}})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{`"serial":null`: 1, `"volume":[]`: 1, `"wwn":null`: 2} {
		if n := strings.Count(string(b), text); n != want {
			t.Errorf("%s: %d times\n%s", text, n, b)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	doc, err := json.Marshal(full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(doc)
	f.Add([]byte(`{"schema":"vic.env/1","hw":{"disk":[{"size":"99999999999999999999"}]}}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		var a, b Facts
		if json.Unmarshal(doc, &a) != nil {
			return
		}
		out, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &b); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		again, err := json.Marshal(b)
		if err != nil || string(again) != string(out) {
			t.Errorf("%v\n%s\n%s", err, out, again)
		}
	})
}

func TestStatics(t *testing.T) {
	for path, want := range map[string]string{"env.os.id": "os.id", "hw.nic.0.name": "hw.nic", "hw.disk[name=sda].serial": "hw.disk", "hw.nic.*.name": "hw.nic", "env": "", "": "", "state.links.eth0.100.mtu": "state.links", "state.disk": "state.disk"} {
		if got, err := statics([]string{path}); err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q %v", path, got, err)
		}
	}
	if _, err := Scan(t.Context(), Config{Only: []string{"hw.nik"}}); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}
