package layout

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func TestIdentify(t *testing.T) {
	const id = "809b3a2b-828a-4730-95e1-75b6343e415a"
	for _, tt := range []struct {
		format, args string
		want         Identity
	}{
		{"ext4", "-U " + id + " -L root -m 1", Identity{UUID: id, Label: "root", Args: []string{"-m", "1"}}},
		{"ext4", "-Lroot -U" + id, Identity{UUID: id, Label: "root"}},
		{"ext4", "-O ^metadata_csum -E lazy_itable_init=0 -U " + id, Identity{UUID: id, Args: []string{"-O", "^metadata_csum", "-E", "lazy_itable_init=0"}}},
		{"vfat", "-n EFI -i 1234abcd -F 32", Identity{UUID: "1234-ABCD", Label: "EFI", Args: []string{"-F", "32"}}},
		{"xfs", "-m crc=1,uuid=" + id + ",reflink=0 -L data", Identity{UUID: id, Label: "data", Args: []string{"-m", "crc=1,reflink=0"}}},
		{"xfs", "-m uuid=" + id, Identity{UUID: id}},
		{"btrfs", "--label=a --uuid " + id + " -d raid1 /dev/sdb", Identity{UUID: id, Label: "a", Args: []string{"-d", "raid1", "/dev/sdb"}}},
		{"f2fs", "-l label -U " + id + " -O extra_attr", Identity{UUID: id, Label: "label", Args: []string{"-O", "extra_attr"}}},
		{"swap", "-L swap --uuid=" + id, Identity{UUID: id, Label: "swap"}},
		{"exfat", "--volume-label=CARD", Identity{Label: "CARD"}},
	} {
		got, err := Identify(tt.format, strings.Fields(tt.args), seed, "x")
		if tt.want.UUID == "" {
			got.UUID = ""
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s %s: %v %s", tt.format, tt.args, err, diff)
		}
	}
}

func TestIdentifyDerives(t *testing.T) {
	for _, format := range []string{"ext4", "xfs", "btrfs", "vfat", "exfat", "swap", "f2fs"} {
		a, err1 := Identify(format, nil, seed, "a")
		same, err2 := Identify(format, nil, seed, "a")
		b, err3 := Identify(format, nil, seed, "b")
		if a.UUID == "" || a.UUID != same.UUID || a.UUID == b.UUID || err1 != nil || err2 != nil || err3 != nil {
			t.Errorf("%s: %v %v %v", format, a, same, b)
		}
		if _, err := uuid.Parse(a.UUID); (err == nil) == (len(a.UUID) == 9) {
			t.Errorf("%s: %s", format, a.UUID)
		}
	}
	if random, err := Identify("ext4", []string{"-U", "random"}, seed, "a"); err != nil || len(random.UUID) != 36 {
		t.Errorf("got %v %v", random, err)
	}
}

func TestIdentifyErrors(t *testing.T) {
	for text, want := range map[string]string{
		"ext4 -U x":                     `"x" is not a UUID`,
		"ext4 -U clear":                 `"clear" is not a UUID`,
		"ext4 -L":                       "-L needs a value",
		"ext4 -L seventeen-letters":     "longer than 16 bytes",
		"vfat -n TWELVELETTER":          "longer than 11 bytes",
		"vfat -i 12345":                 "not eight hexadecimal digits",
		"xfs -L thirteenbytes":          "longer than 12 bytes",
		"xfs -m uuid=x":                 `"x" is not a UUID`,
		"swap --label=sixteen-letters!": "longer than 15 bytes",
	} {
		words := strings.Fields(text)
		if _, err := Identify(words[0], words[1:], seed, "x"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}
