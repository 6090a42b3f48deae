package volume

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/stage/direct"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// contents are the files of a stage; the payload does not end with a sector.
func contents() map[string][]byte {
	payload := make([]byte, 5<<20+333)
	for i := range payload {
		payload[i] = byte(rand.Uint32())
	}
	return map[string][]byte{
		stage.Payload: payload, stage.Request: []byte("{}\n"), stage.Secrets: nil,
		stage.Kernel: []byte("kernel"), stage.Initrd: payload[:1<<20], stage.UKIx64: payload[:2<<20+1],
	}
}

func document(files map[string][]byte) stage.Document {
	d := stage.Document{
		Version: stage.Version, ID: uuid.MustParse("a1b2c3d4-0000-4000-8000-000000000001"),
		Created: time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC), Firmware: "uefi",
		Disk: request.DiskSelector{Serial: "QM0001"}, Stage: stage.Place{Number: 2, Offset: 1 << 20, Size: 64 << 20},
	}
	for _, name := range []string{stage.UKIx64, stage.Kernel, stage.Initrd, stage.Payload, stage.Request, stage.Secrets} {
		d.Files = append(d.Files, stage.File{Name: name, Size: int64(len(files[name])), SHA256: fmt.Sprintf("%x", sha256.Sum256(files[name]))})
	}
	return d
}

// disk is a file with old noise in it.
func disk(t *testing.T, d stage.Document) (path string, dev *direct.Device) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, bytes.Repeat([]byte("old "), int(d.Stage.Offset+d.Stage.Size+1<<20)/4), 0o600); err != nil {
		t.Fatal(err)
	}
	dev, err := direct.Open(path, os.O_RDWR, d.Stage.Offset, d.Stage.Size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return path, dev
}

func opener(files map[string][]byte) func(string) (Source, error) {
	return func(name string) (Source, error) {
		b, ok := files[name]
		if !ok {
			return nil, fs.ErrNotExist
		}
		return Bytes(b), nil
	}
}

// What was written verifies, is read by this package and by mtools, and fsck
// finds nothing.
func TestWrite(t *testing.T) {
	tooltest.Need(t, "fsck.vfat")
	tooltest.Need(t, "mtype")
	for sector, size := range map[int]int64{0: 64 << 20, 4096: 260 << 20} {
		t.Run(fmt.Sprint(sector), func(t *testing.T) { testWrite(t, sector, size) })
	}
}

func testWrite(t *testing.T, sector int, size int64) {
	files := contents()
	d := document(files)
	d.Stage.Size = size
	path, dev := disk(t, d)
	var told int64
	c := Config{Document: d, SectorSize: sector, Open: opener(files), Progress: func(done, total int64) { told = total - done }}
	if err := Write(t.Context(), dev, c); err != nil {
		t.Fatal(err)
	}
	if told != 0 {
		t.Errorf("the progress ends %d bytes before the end", told)
	}
	if err := Verify(t.Context(), dev, d, nil); err != nil {
		t.Error(err)
	}
	v, err := Open(dev)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := v.Document(); err != nil || got.ID != d.ID || len(got.Files) != len(d.Files) {
		t.Errorf("document: got %+v, %v", got, err)
	}
	if b, err := v.ReadFile(stage.InVolume(stage.Request)); err != nil || string(b) != "{}\n" {
		t.Errorf("request: got %q, %v", b, err)
	}
	if _, _, err := v.Extent("vic/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	image := cut(t, path, d.Stage)
	if out, err := exec.Command("fsck.vfat", "-n", image).CombinedOutput(); err != nil {
		t.Errorf("fsck.vfat: %v\n%s", err, out)
	}
	for _, f := range d.Files {
		out, err := exec.Command("mtype", "-i", image, "::/"+stage.InVolume(f.Name)).Output()
		if err != nil || !bytes.Equal(out, files[f.Name]) {
			t.Errorf("mtools read %s: %d bytes that differ (%v)", f.Name, len(out), err)
		}
	}
}

// cut copies the stage out of the disk, and sees that nothing beside it was
// written.
func cut(t *testing.T, path string, p stage.Place) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, beside := range [][]byte{b[:p.Offset], b[p.Offset+p.Size:]} {
		if len(bytes.ReplaceAll(beside, []byte("old "), nil)) > 0 {
			t.Error("bytes beside the stage were written")
		}
	}
	image := filepath.Join(t.TempDir(), "stage")
	if err := os.WriteFile(image, b[p.Offset:p.Offset+p.Size], 0o600); err != nil {
		t.Fatal(err)
	}
	return image
}

// A content that is not the document's is no stage; nor is one that was not
// written to its end, or altered.
func TestRefused(t *testing.T) {
	files := contents()
	d := document(files)
	for what, change := range map[string]func(name string) (Source, error){
		"expected SHA-256": func(name string) (Source, error) {
			b := bytes.Clone(files[name])
			if name == stage.Payload {
				b[5<<20] ^= 1
			}
			return Bytes(b), nil
		},
		"it ends after": func(name string) (Source, error) { return Bytes(files[name][:len(files[name])/2]), nil },
		"no such":       func(string) (Source, error) { return nil, errors.New("no such file") },
	} {
		_, dev := disk(t, d)
		if err := Write(t.Context(), dev, Config{Document: d, Open: change}); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("got %v, want an error with %q", err, what)
		}
		if _, err := Open(dev); !errors.Is(err, ErrNone) {
			t.Errorf("%s: there is a file system afterwards (%v)", what, err)
		}
	}
	_, dev := disk(t, d)
	if err := Write(t.Context(), dev, Config{Document: d, Open: opener(files)}); err != nil {
		t.Fatal(err)
	}
	v, err := Open(dev)
	if err != nil {
		t.Fatal(err)
	}
	at, _, err := v.Extent(stage.InVolume(stage.Payload))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dev.WriteAt([]byte("x altered x"), at+4<<20); err != nil {
		t.Fatal(err)
	}
	if err := Verify(t.Context(), dev, d, nil); err == nil || !strings.Contains(err.Error(), "payload.erofs: expected SHA-256") {
		t.Errorf("altered: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Verify(ctx, dev, d, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

func TestSize(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		d := document(contents())
		n, err := Size(d, sector)
		if err != nil || n%(1<<20) != 0 {
			t.Fatalf("got %d, %v", n, err)
		}
		d.Stage.Size = n
		files := contents()
		d.Files = document(files).Files
		_, dev := disk(t, d)
		if err := Write(t.Context(), dev, Config{Document: d, SectorSize: sector, Open: opener(files)}); err != nil {
			t.Errorf("in %d bytes: %v", n, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	files := map[string][]byte{stage.Payload: []byte("p"), stage.Request: []byte("r")}
	d := document(files)
	d.Stage.Size = 40 << 20
	b := make(buffer, d.Stage.Size)
	if err := Write(f.Context(), b, Config{Document: d, Open: opener(files)}); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(b[:1<<20]))
	f.Fuzz(func(t *testing.T, image []byte) {
		v, err := Open(bytes.NewReader(image))
		if err != nil {
			return
		}
		if off, size, err := v.Extent(stage.InVolume(stage.Self)); err == nil && (off < 0 || size < 0) {
			t.Errorf("%d bytes at %d", size, off)
		}
		_ = Verify(t.Context(), bytes.NewReader(image), d, nil)
	})
}

// buffer is a device in memory.
type buffer []byte

func (b buffer) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(b).ReadAt(p, off) }
func (b buffer) Sync() error                             { return nil }
func (b buffer) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > int64(len(b)) {
		return 0, io.ErrShortWrite
	}
	return copy(b[off:], p), nil
}
