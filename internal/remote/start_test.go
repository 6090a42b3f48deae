package remote

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// aStart is the beginning of an initramfs with enterProgram in it.
func aStart(t *testing.T) Start {
	t.Helper()
	run := tooltest.Need(t, "zstd", "head", "tail")
	before, after := random(70_001), random(300_000) // more than a pipe holds
	archive := append(append(bytes.Clone(before), enterProgram...), after...)
	out, err := run.Run(t.Context(), tool.Cmd{Name: "zstd", Args: []string{"-qc"}, Stdin: bytes.NewReader(archive)})
	if err != nil {
		t.Fatal(err)
	}
	padded := append(bytes.Clone(out.Stdout), make([]byte, 300)...)
	return Start{Data: padded, Frame: int64(len(out.Stdout)), Offset: int64(len(before)), Size: int64(len(enterProgram))}
}

// What the initrd begins with brings the program, and is sent once.
func TestStartIsSentOnce(t *testing.T) {
	t.Parallel()
	srv, start := serve(t), aStart(t)
	s, ctx := uploader(t, srv), limit(t)
	initrd := append(bytes.Clone(start.Data), random(500_000)...)
	b := Bundle{Kernel: fileOf(t, random(1000)), Initrd: fileOf(t, initrd), Handover: []byte("abc"), Cmdline: "quiet"}
	upload := func(parts int) {
		t.Helper()
		if err := s.InstallStart(ctx, start); err != nil {
			t.Fatal(err)
		}
		if _, err := s.UploadBundle(ctx, b, func(int64, int64) {}); err != nil {
			t.Fatal(err)
		}
		names, err := filepath.Glob(s.folder + "/*-????????????????")
		if err != nil || len(names) != 2+parts { // the program, and the kernel
			t.Errorf("%d parts: %q %v", parts, names, err)
		}
		if a, err := s.Enter(ctx); err != nil || a.MachineID != "abc" {
			t.Fatalf("%+v %v", a, err)
		}
	}
	upload(2)
	if sent, most := s.Sent(), int64(len(initrd)+3000); sent > most {
		t.Errorf("%d bytes were sent, %d are right", sent, most)
	}
	if !strings.Contains(srv.ran(), `'\''vic-env'\'' '\''enter'\''`) {
		t.Errorf("the program was not called vic-env:\n%s", srv.ran())
	}
	// Another vic's: it is of no use, and all is sent.
	b.Initrd = fileOf(t, random(500_000))
	upload(1)
}

// A program that does not come out as it should is none.
func TestStartIsBroken(t *testing.T) {
	t.Parallel()
	srv, start := serve(t), aStart(t)
	s, ctx := uploader(t, srv), limit(t)
	start.Data[start.Frame/10] ^= 0xff
	start.Frame /= 2
	if err := s.InstallStart(ctx, start); err == nil || !strings.Contains(err.Error(), "unpack") {
		t.Error(err)
	}
	if left, err := filepath.Glob(s.folder + "/vic-env-????????????????"); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}
