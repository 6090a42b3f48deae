package layout

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

const standard = `# the usual disk
disko:
  devices:
    disk:
      main:
        type: disk
        device: /dev/vda
        content:
          type: gpt
          partitions:
            root:
              size: 100%
              type: 8304
              content:
                type: filesystem
                format: ext4
                mountpoint: /
                mountOptions: [noatime]
            ESP:
              size: 512M
              type: EF00
              content: {type: filesystem, format: vfat, mountpoint: /boot/efi, mountOptions: [umask=0077], extraArgs: [-n, EFI]}
            boot: {size: 1M, type: EF02}
`

var seed = uuid.MustParse("8c0e2a83-1b1e-4d5e-9a35-0a1f3c9a7b10")

func mustParse(t testing.TB, text string) Layout {
	t.Helper()
	l, err := Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestResolveStandard(t *testing.T) {
	l := mustParse(t, standard)
	for _, sectorSize := range []int{512, 4096} {
		g := map[string]Geometry{"main": {Size: 8 << 30, SectorSize: sectorSize}}
		tables, err := Resolve(l, g, seed)
		if err != nil {
			t.Fatal(err)
		}
		mib := uint64(mebibyte / sectorSize)
		want := []struct {
			label       string
			typ         uuid.UUID
			first, last uint64
			mount       string
		}{
			{"disk-main-boot", TypeBIOSBoot, mib, 2*mib - 1, ""},
			{"disk-main-ESP", TypeESP, 2 * mib, 514*mib - 1, "/boot/efi"},
			{"disk-main-root", TypeRootAMD64, 514 * mib, 8191*mib - 1, "/"},
		}
		if len(tables) != 1 || len(tables[0].Entries) != len(want) {
			t.Fatalf("got %+v", tables)
		}
		for i, e := range tables[0].Entries {
			w := want[i]
			if e.Number != i+1 || e.Label != w.label || e.Type != w.typ || e.FirstLBA != w.first || e.LastLBA != w.last {
				t.Errorf("sector size %d: entry %+v, want %+v", sectorSize, e, w)
			}
			if fs, ok := specOf[*Filesystem](e.Content); ok != (w.mount != "") || ok && fs.Mountpoint != w.mount {
				t.Errorf("entry %s: file system %+v", e.Name, fs)
			}
		}
		again, err := Resolve(mustParse(t, standard), g, seed)
		if err != nil || cmp.Diff(tables, again) != "" {
			t.Errorf("the second run differs: %v %s", err, cmp.Diff(tables, again))
		}
		other, err := Resolve(l, g, uuid.NewSHA1(seed, nil))
		if err != nil || other[0].GUID == tables[0].GUID || other[0].Entries[0].GUID == tables[0].Entries[0].GUID {
			t.Errorf("another seed gives the same GUIDs: %v", err)
		}
	}
}

func TestTooSmall(t *testing.T) {
	l := mustParse(t, standard)
	_, err := Resolve(l, map[string]Geometry{"main": {Size: 10 << 20, SectorSize: 512}}, seed)
	if err == nil || !strings.Contains(err.Error(), "device is 10 MiB, layout needs 516 MiB") {
		t.Errorf("got %v", err)
	}
	for _, sectorSize := range []int{512, 4096} {
		least := MinimumSize(l, sectorSize)
		for delta, fits := range map[int64]bool{0: true, -mebibyte: false} {
			_, err := Resolve(l, map[string]Geometry{"main": {Size: least + delta, SectorSize: sectorSize}}, seed)
			if (err == nil) != fits {
				t.Errorf("size %d%+d: %v", least, delta, err)
			}
		}
	}
}

func TestNeverFits(t *testing.T) {
	l := mustParse(t, strings.ReplaceAll(standard, "size: 1M", "start: 40M, end: 39M"))
	_, err := Resolve(l, map[string]Geometry{"main": {Size: 8 << 30, SectorSize: 512}}, seed)
	if err == nil || !strings.Contains(err.Error(), "partition boot") {
		t.Errorf("got %v", err)
	}
	if n := MinimumSize(l, 512); n != 0 {
		t.Errorf("minimum size is %d", n)
	}
}

func TestForms(t *testing.T) {
	want := mustParse(t, standard)
	indented := strings.Split(standard, "\n")
	var devices, bare []string
	for _, line := range indented[2:] {
		devices = append(devices, strings.TrimPrefix(line, "  "))
		bare = append(bare, strings.TrimPrefix(line, "    "))
	}
	for _, text := range []string{strings.Join(devices, "\n"), strings.Join(bare[1:], "\n")} {
		if diff := cmp.Diff(want, mustParse(t, text)); diff != "" {
			t.Errorf("%s:\n%s", text, diff)
		}
	}
	js := "{\n\t\"disk\": {\n\t\t\"d\": {\"type\": \"disk\", \"content\": {\"type\": \"gpt\", \"partitions\": {\n\t\t\t\"root\": {\"size\": \"100%\", \"priority\": 0, \"content\": {\"type\": \"filesystem\", \"format\": \"ext4\", \"mountpoint\": \"/\"}}}}}}}\n"
	if l := mustParse(t, js); *l.Disk["d"].Content.Spec.(*GPT).Partitions["root"].Priority != 0 {
		t.Errorf("got %+v", l)
	}
}

func TestParseErrors(t *testing.T) {
	replace := func(pairs ...string) string {
		s := strings.NewReplacer(pairs...).Replace(standard)
		if s == standard {
			t.Fatal("nothing was replaced")
		}
		return s
	}
	tests := map[string]struct {
		text string
		want []string
	}{
		"empty":    {"", []string{"test.yaml: is empty"}},
		"nothing":  {"devices: {}", []string{"no disk is described"}},
		"list":     {"[1]", []string{"test.yaml:1:1: expected a mapping"}},
		"syntax":   {"disk: [", []string{"test.yaml:1:"}},
		"unknown":  {replace("mountpoint: /\n", "mountPoint: /\n"), []string{`test.yaml:17:17: disko.devices.disk.main.content.partitions.root.content: unknown key "mountPoint"; did you mean "mountpoint"?`}},
		"two":      {replace("size: 100%", "sise: 100%", "size: 1M", "tipe: 1M"), []string{`12:15: `, `did you mean "size"?`, `23:20: `, `did you mean "type"?`}},
		"beside":   {replace("  devices:", "  devises: {}\n  devices:"), []string{`3:3: disko: unknown key "devises"; did you mean "devices"?`}},
		"format":   {replace("format: ext4", "format: ntfs"), []string{"16:17: ", "vic does not make ntfs"}},
		"typo":     {replace("format: ext4", "format: etx4"), []string{`unknown file system "etx4"; did you mean "ext4"?`}},
		"luks":     {replace("type: filesystem\n", "type: lukz\n"), []string{`15:23: `, `unknown content type "lukz"; did you mean "luks"?`}},
		"size":     {replace("512M", "512MB"), []string{`20:15: `, `read size "512MB"`}},
		"negative": {replace("512M", "-5"), []string{`read size "-5"`}},
		"code":     {replace("EF00", "EF99"), []string{`unknown partition type "EF99"`}},
		"twice":    {replace("/boot/efi", "/"), []string{"/ is mounted a second time"}},
		"relative": {replace("mountpoint: /\n", "mountpoint: home\n"), []string{`expected a plain absolute path, got "home"`}},
		"dots":     {replace("/boot/efi", "/../x"), []string{`expected a plain absolute path`}},
		"kind":     {replace("size: 1M", "size: [1]"), []string{"expected a string, got a list"}},
		"anchor":   {replace("size: 1M", "size: &a 1M"), []string{"not supported here"}},
		"attr":     {replace("size: 1M", "attributes: [64]"), []string{"expected bits 0 to 63"}},
		"uuid":     {replace("size: 1M", "uuid: 123"), []string{"expected a UUID"}},
		"same":     {replace("size: 1M", "uuid: "+seed.String(), "size: 512M", "uuid: "+seed.String()), []string{"the same UUID as"}},
		"label":    {replace("EFI]", "TWELVELETTER]"), []string{"longer than 11 bytes"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("test.yaml", []byte(tt.text))
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("got  %v\nwant %s", err, w)
				}
			}
		})
	}
}
