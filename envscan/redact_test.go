package envscan

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/probe"
)

// planter fills every text of a document. What is identifying gets a canary, of
// the form that its kind has.
type planter struct {
	n        int
	canaries []string
}

func (p *planter) canary(field string) string {
	p.n++
	n := p.n
	var c string
	switch {
	case strings.HasSuffix(field, "HWAddr") || field == "NIC.Current" || field == "Station.BSSID":
		c = fmt.Sprintf("52:54:00:ca:%02x:%02x", n>>8, n&0xff)
	case field == "Address.Address" || field == "Address.Peer":
		c = fmt.Sprintf("198.51.%d.%d/24", n>>8, n&0xff)
	case strings.HasPrefix(field, "Route.") || field == "DNS.Server":
		c = fmt.Sprintf("2001:db8:ca:%x::1", n)
	case field == "Disk.WWN":
		c = fmt.Sprintf("0x5000ca%010x", n)
	case field == "Disk.Links":
		c = fmt.Sprintf("/dev/disk/by-id/ata-CANARY_%d_X", n)
	case field == "HostKey.Fingerprint":
		c = fmt.Sprintf("SHA256:CANARY%dxyz", n)
	default:
		c = fmt.Sprintf("CANARY-%d-x", n)
	}
	p.canaries = append(p.canaries, c)
	return c
}

func (p *planter) fill(v reflect.Value, field, privacy string) {
	if _, ok := v.Interface().(uuid.UUID); ok {
		p.n++
		id := uuid.UUID{0xca, byte(p.n >> 8), byte(p.n), 6: 0x40, 8: 0x80}
		v.Set(reflect.ValueOf(id))
		if privacy != "" {
			p.canaries = append(p.canaries, id.String())
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		p.fill(v.Elem(), field, privacy)
	case reflect.Struct:
		for _, f := range fieldsOf(v.Type()) {
			own := f.privacy
			if own == "" {
				own = privacy
			}
			p.fill(v.FieldByIndex(f.index), f.owner.Name()+"."+f.goName, own)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			p.fill(v.Index(i), field, privacy)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		e := reflect.New(v.Type().Elem()).Elem()
		p.fill(e, field, privacy)
		key := "public"
		if privacy != "" {
			key = p.canary(field)
		}
		v.SetMapIndex(reflect.ValueOf(key), e)
	case reflect.String:
		v.SetString("public")
		if privacy != "" {
			v.SetString(p.canary(field))
		}
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	}
}

// forged is a document with a canary in every identifying field, and all of them
// again, in each of their forms, in texts that are public.
func forged(t testing.TB) (Facts, []string) {
	t.Helper()
	var f Facts
	var p planter
	p.fill(reflect.ValueOf(&f).Elem(), "", "")
	f.Schema, f.Scan.Only, f.Scan.Redacted = Schema, nil, ""
	var all []string
	for _, c := range p.canaries {
		all = append(all, c)
		all = append(all, forms(c)...)
	}
	for _, c := range all {
		f.Scan.Gaps = append(f.Scan.Gaps, Gap{Fact: "hw.disk[serial=" + c + "].wwn", Path: "/dev/" + c, Why: "open " + strings.ToUpper(c) + "_x: denied", Need: "root"})
		f.HW.Firmware.Boot = append(f.HW.Firmware.Boot, BootEntry{Label: "UEFI " + c + " 1"})
		f.HW.NIC = append(f.HW.NIC, NIC{Name: "enx" + c, Driver: "e1000e"})
		f.HW.Volume = append(f.HW.Volume, Volume{Name: c})
	}
	return f, all
}

// TestNothingSurvives: no identifying value, in any form, anywhere.
func TestNothingSurvives(t *testing.T) {
	f, canaries := forged(t)
	if len(canaries) < 100 {
		t.Fatalf("%d canaries: the test checks little", len(canaries))
	}
	for _, mode := range []string{RedactHash, RedactDrop} {
		r, err := NewRedactor(mode, nil)
		if err != nil {
			t.Fatal(err)
		}
		safe, err := r.Redact(f)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := json.Marshal(safe)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ToLower(string(doc))
		for _, c := range canaries {
			if strings.Contains(text, strings.ToLower(c)) {
				i := strings.Index(text, strings.ToLower(c))
				t.Errorf("%s: %s is still there: %s", mode, c, text[max(0, i-60):min(len(text), i+60)])
			}
		}
		if n := strings.Count(text, "canary"); n > 0 {
			i := strings.Index(text, "canary")
			t.Errorf("%s: parts of %d are still there: %s", mode, n, text[max(0, i-60):min(len(text), i+60)])
		}
		for _, public := range []string{`"driver":"e1000e"`, `"need":"root"`, `"arch":"public"`} {
			if !strings.Contains(string(doc), public) {
				t.Errorf("%s: %s is gone", mode, public)
			}
		}
		var back Facts
		if err := json.Unmarshal(doc, &back); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

func TestHash(t *testing.T) {
	f := Facts{
		Schema: Schema,
		Scan:   Report{Gaps: []Gap{{Fact: "hw.disk[name=sda].serial", Path: "/sys/block/sda"}, {Fact: "state.links.eth0.up", Why: "no 52:54:00:12:34:56"}}},
		HW: HW{
			Disk: []Disk{{
				Name: "sda", Serial: "QM000012", Links: []string{"/dev/disk/by-id/ata-QEMU_QM000012"}, WWN: "0x5000000000000001",
				Contents: Contents{Table: &layout.Table{GUID: uuid.UUID{1}}, Content: []probe.Result{{Type: "ext4", UUID: "6e3c0f5d-0b6c-4c65-9d31-6b3f1c2a7e10"}}},
			}},
			NIC: []NIC{{Name: "eth0", HWAddr: "52:54:00:12:34:56", Current: "52:54:00:12:34:56"}, {Name: "enx525400123457", HWAddr: "52:54:00:12:34:57"}},
		},
		Net:   Net{Address: []Address{{Interface: "eth0", Address: "192.0.2.7/24"}, {Interface: "br-lan", Address: "fe80::5054:ff:fe12:3456/64"}}, Links: []NetLink{{Name: "br-lan"}}, DNS: DNS{Server: []string{"192.0.2.7", "127.0.0.53"}}},
		OS:    OS{Type: "linux", ID: "debian", Hostname: "debian"},
		State: State{Links: map[string]Link{"eth0": {Up: true}}},
	}
	r := must(NewRedactor(RedactHash, []byte("0123456789abcdef")))
	a, b := must(r.Redact(f)), must(r.Redact(f))
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("not the same twice: %s", diff)
	}
	d, n := a.HW.Disk[0], a.HW.NIC
	checks := map[string]bool{
		"MAC":              n[0].HWAddr == n[0].Current && strings.HasPrefix(n[0].HWAddr, "02:") && len(n[0].HWAddr) == 17 && n[0].HWAddr != n[1].HWAddr,
		"MAC in a name":    n[1].Name == "enx"+strings.ReplaceAll(n[1].HWAddr, ":", "") && len(n[1].Name) <= 15,
		"MAC in a text":    a.Scan.Gaps[1].Why == "no "+n[0].HWAddr,
		"name of hardware": n[0].Name == "eth0" && a.Net.Address[0].Interface == "eth0" && a.State.Links["eth0"].Up && a.Scan.Gaps[1].Fact == "state.links.eth0.up",
		"name of software": a.Net.Links[0].Name == a.Net.Address[1].Interface && len(a.Net.Links[0].Name) <= 15 && a.Net.Links[0].Name != "br-lan",
		"address":          strings.HasPrefix(a.Net.Address[0].Address, "24") && a.Net.DNS.Server[0]+"/24" == a.Net.Address[0].Address,
		"loopback":         a.Net.DNS.Server[1] == "127.0.0.53",
		"link-local":       strings.HasPrefix(a.Net.Address[1].Address, "fe80::") && strings.HasSuffix(a.Net.Address[1].Address, "/64"),
		"by-id":            strings.HasPrefix(d.Links[0], "/dev/disk/by-id/x"),
		"WWN":              strings.HasPrefix(d.WWN, "0x") && len(d.WWN) == 18 && d.WWN != "0x5000000000000001",
		"UUID":             uuid.Validate(d.Content[0].UUID) == nil && d.Content[0].UUID != f.HW.Disk[0].Content[0].UUID && d.Table.GUID != f.HW.Disk[0].Table.GUID,
		"host name":        len(a.OS.Hostname) == 13 && a.OS.ID == "debian",
		"serial":           len(d.Serial) == 13,
		"said":             a.Scan.Redacted == RedactHash,
		"the original":     f.HW.Disk[0].Serial == "QM000012" && f.HW.NIC[1].Name == "enx525400123457" && f.Scan.Gaps[1].Why == "no 52:54:00:12:34:56",
	}
	for name, ok := range checks {
		if !ok {
			t.Errorf("%s: %s", name, must(json.Marshal(a)))
		}
	}
	if other := must(must(NewRedactor(RedactHash, nil)).Redact(f)); other.HW.Disk[0].Serial == d.Serial {
		t.Error("another key, and the same hash")
	}
	if _, err := r.Redact(a); err == nil {
		t.Error("hashed twice")
	}
	for key, mode := range map[string]string{"short": RedactHash, "0123456789abcdef": "shred"} {
		if _, err := NewRedactor(mode, []byte(key)); err == nil {
			t.Errorf("%s %s is accepted", mode, key)
		}
	}
}

func TestDropIsAbsent(t *testing.T) {
	safe := must(must(NewRedactor(RedactDrop, nil)).Redact(full()))
	for path, want := range map[string]string{"hw.disk.0.serial": "absent", "hw.disk.0.table.guid": "absent", "hw.disk.0.table.kind": `"gpt"`, "state.links": "absent", "hw.disk.0.content.0.type": `"ext4"`, "scan.redacted": `"drop"`, "net.dns.server": "absent"} {
		if got := at(t, safe, path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// FuzzRedact: whatever a serial number, a host name and an error look like.
func FuzzRedact(f *testing.F) {
	f.Add("WD-WX1 234", "web1.example.org", "open /x/", "b")
	f.Add("00-11-22-33-44-55", "fe80::1%eth0", "", "")
	f.Add("ÄÖÜß\xff\xfe", "İstanbul", "x", "y")
	f.Fuzz(func(t *testing.T, serial, host, before, after string) {
		facts := Facts{Schema: Schema, HW: HW{Disk: []Disk{{Name: "sda", Serial: serial}}}, OS: OS{Hostname: host}}
		facts.Scan.Gaps = []Gap{{Fact: "hw.disk[serial=" + serial + "]", Path: "/" + host, Why: before + " " + serial + " " + host + " " + after}}
		for _, mode := range []string{RedactHash, RedactDrop} {
			safe, err := must(NewRedactor(mode, []byte("0123456789abcdef"))).Redact(facts)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range []string{serial, host} {
				v = strings.ToValidUTF8(v, "\ufffd")
				for _, text := range []string{safe.Scan.Gaps[0].Why, safe.Scan.Gaps[0].Fact, safe.Scan.Gaps[0].Path, safe.HW.Disk[0].Serial, safe.OS.Hostname} {
					if telling(v) && len(v) > 20 && strings.Contains(text, v) {
						t.Errorf("%s: %q is in %q", mode, v, text)
					}
				}
			}
		}
	})
}

// TestScrubFile: values in the forms that firmware has.
func TestScrubFile(t *testing.T) {
	f := Facts{Schema: Schema, HW: HW{DMI: &DMI{UUID: "6e3c0f5d-0b6c-4c65-9d31-6b3f1c2a7e10", Serial: "CANARY-7"}, NIC: []NIC{{Name: "eth0", HWAddr: "52:54:00:ca:7a:12"}}}, OS: OS{Hostname: "box"}}
	s := must(NewRedactor(RedactHash, nil)).Scrub(f)
	table := "\x01\x00" + "\x5d\x0f\x3c\x6e\x6c\x0b\x65\x4c\x9d\x31\x6b\x3f\x1c\x2a\x7e\x10" + "\x00Canary-7\x00" + wide("UEFI CANARY-7") + "\x00\x00\x52\x54\x00\xca\x7a\x12\xff"
	got := string(s.File([]byte(table)))
	for _, gone := range []string{"\x6e\x6c\x0b", "anary", wide("CANARY"), "\x52\x54\x00\xca"} {
		if strings.Contains(got, gone) {
			t.Errorf("%q is still in %q", gone, got)
		}
	}
	if len(got) != len(table) || !strings.Contains(got, wide("UEFI ")) || got[:2] != "\x01\x00" {
		t.Errorf("%q", got)
	}
	if text := string(s.File([]byte("box\n"))); text == "box\n" || !strings.HasPrefix(text, "x") {
		t.Errorf("%q", text)
	}
	if text := string(s.File([]byte("a box of 1\n"))); text != "a box of 1\n" {
		t.Errorf("%q", text)
	}
}
