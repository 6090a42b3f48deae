package cli

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// holey is an image of 16 MiB with two pieces of data and an odd end.
func holey(t *testing.T) (path string, content []byte) {
	t.Helper()
	content = make([]byte, 16<<20+512)
	copy(content[3<<20:], bytes.Repeat([]byte("data"), 5000))
	copy(content[9<<20+77:], "more")
	path = filepath.Join(t.TempDir(), "raw.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err1 := f.WriteAt(content[3<<20:4<<20], 3<<20)
	_, err2 := f.WriteAt(content[9<<20:9<<20+4096], 9<<20)
	if err := errors.Join(err1, err2, f.Truncate(int64(len(content))), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path, content
}

func TestCopyKeepsHoles(t *testing.T) {
	from, want := holey(t)
	to := filepath.Join(t.TempDir(), "copy.img")
	err := writeNew(to, func(out *os.File) error {
		in, err := os.Open(from)
		if err != nil {
			return err
		}
		defer in.Close()
		return copySparse(out, in)
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(to)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the copy differs, %v", err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(to, &st); err != nil || st.Blocks*512 > 4<<20 {
		t.Errorf("it takes %d bytes of the disk, %v", st.Blocks*512, err)
	}
	if err := writeNew(to, func(*os.File) error { return nil }); !errors.Is(err, os.ErrExist) {
		t.Errorf("a file that is there: got %v", err)
	}
}

func TestPackedImages(t *testing.T) {
	run := tooltest.Need(t, "zstd", "qemu-img")
	for format, unpack := range map[string]func(from, to string) tool.Cmd{
		"":    func(from, to string) tool.Cmd { return tool.Cmd{Name: "cp", Args: []string{from, to}} },
		"zst": func(from, to string) tool.Cmd { return tool.Cmd{Name: "zstd", Args: []string{"-qd", from, "-o", to}} },
		"qcow2": func(from, to string) tool.Cmd {
			return tool.Cmd{Name: "qemu-img", Args: []string{"convert", "-f", "qcow2", "-O", "raw", from, to}}
		},
	} {
		from, want := holey(t)
		dir := t.TempDir()
		f := imageFlags{compress: format}
		name, pack := f.packer(t.Context())
		if err := pack(from, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if _, err := run.Run(t.Context(), unpack(filepath.Join(dir, name), filepath.Join(dir, "raw"))); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, "raw"))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: another image comes out, %v", name, err)
		}
	}
}
