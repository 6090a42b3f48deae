package stage

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/victorinix/vic/internal/request"
)

func example() Document {
	hash := strings.Repeat("ab", 32)
	return Document{
		Version: Version, ID: uuid.MustParse("a1b2c3d4-0000-4000-8000-000000000001"),
		Created: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC), Firmware: "bios",
		Disk:     request.DiskSelector{Serial: "QM0001", Size: 8 << 30},
		Stage:    Place{Number: 3, Offset: 7 << 30, Size: 512 << 20},
		Core:     &Place{Number: 4, Offset: 7<<30 - 1<<20, Size: 1 << 20},
		BootCode: make([]byte, 440), OldBootCode: make([]byte, 440),
		Files: []File{{Name: Payload, Size: 1, SHA256: hash}, {Name: Request, Size: 2, SHA256: hash}},
		Grow:  &Grow{Mountpoint: "/"},
	}
}

func TestRoundTrip(t *testing.T) {
	var b bytes.Buffer
	if err := example().Encode(&b); err != nil {
		t.Fatal(err)
	}
	got, err := Decode(&b)
	if err != nil || !reflect.DeepEqual(got, example()) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestFilesystemUUID(t *testing.T) {
	if got := example().FilesystemUUID(); got != "A1B2-C3D4" {
		t.Errorf("got %s, want A1B2-C3D4", got)
	}
}

// What is missing or contradicts itself is named; nothing is guessed.
func TestRefused(t *testing.T) {
	for want, change := range map[string]func(*Document){
		"version 2":       func(d *Document) { d.Version = 2 },
		"no id":           func(d *Document) { d.ID = uuid.UUID{} },
		"no disk":         func(d *Document) { d.Disk = request.DiskSelector{} },
		"no place for th": func(d *Document) { d.Stage.Size = 0 },
		"no place for GR": func(d *Document) { d.Core = nil },
		"100 and 440":     func(d *Document) { d.BootCode = d.BootCode[:100] },
		"needs no boot":   func(d *Document) { d.Firmware = "uefi" },
		"neither uefi":    func(d *Document) { d.Firmware = "u-boot" },
		"no file payload": func(d *Document) { d.Files = d.Files[1:] },
		"no size or hash": func(d *Document) { d.Files[0].SHA256 = "" },
		"are nowhere":     func(d *Document) { d.Hop = &Hop{Filesystem: "x", Format: "ext4", Folder: "var"} },
	} {
		d := example()
		change(&d)
		var b bytes.Buffer
		if err := d.Encode(&b); err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(&b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

// A document in a UKI lacks the UKI, and nothing else.
func TestCompleted(t *testing.T) {
	hash := strings.Repeat("cd", 32)
	own := example()
	own.Files = append(own.Files, File{Name: UKIx64, Size: 3, SHA256: hash})
	got, err := example().Completed(own)
	if err != nil || !reflect.DeepEqual(got, own) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := own.Completed(own); err != nil || !reflect.DeepEqual(got, own) {
		t.Errorf("got %+v, %v", got, err)
	}
	for want, change := range map[string]func(*Document){
		"it says of payload.erofs": func(d *Document) { d.Files = append([]File{{Name: Payload, Size: 9, SHA256: hash}}, d.Files[1:]...) },
		"did not come with":        func(d *Document) { d.Files = append(d.Files, File{Name: "more", Size: 1, SHA256: hash}) },
		"is not the one":           func(d *Document) { d.ID[15]++ },
	} {
		other := own
		change(&other)
		if _, err := example().Completed(other); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	var b bytes.Buffer
	if err := example().Encode(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, doc []byte) {
		if d, err := Decode(bytes.NewReader(doc)); err == nil && d.Validate() != nil {
			t.Error("decoded what is not valid")
		}
	})
}
