package luks

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

const id = "5d0f3c6e-6c0b-4c65-9d31-6b3f1c2a7e10"

func TestCommands(t *testing.T) {
	c := Container{Device: "/dev/sda2"}
	detached := Container{Device: "/dev/sda2", Header: "/keys/h"}
	key := []byte("s3cret")
	add, err := AddKeyCommand(c, key, []byte("second"), []string{"--pbkdf", "pbkdf2"})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		got  tool.Cmd
		want string
		in   string
	}{
		{FormatCommand(c, id, key, []string{"--cipher", "x"}), "cryptsetup luksFormat --batch-mode --type luks2 --uuid " + id + " --key-file - --cipher x /dev/sda2", "s3cret"},
		{FormatCommand(detached, id, key, nil), "cryptsetup luksFormat --batch-mode --type luks2 --uuid " + id + " --key-file - --header /keys/h /dev/sda2", "s3cret"},
		{add, "cryptsetup luksAddKey --batch-mode --key-file - --keyfile-size 6 --pbkdf pbkdf2 /dev/sda2 -", "s3cretsecond"},
		{TestKeyCommand(c, key), "cryptsetup open --batch-mode --test-passphrase --type luks --key-file - /dev/sda2", "s3cret"},
		{OpenCommand(c, "crypt", key, Options{AllowDiscards: true, BypassWorkqueues: true, Args: []string{"--persistent"}}),
			"cryptsetup open --batch-mode --type luks --key-file - --allow-discards --perf-no_read_workqueue --perf-no_write_workqueue --persistent /dev/sda2 crypt", "s3cret"},
		{OpenCommand(detached, "crypt", key, Options{}), "cryptsetup open --batch-mode --type luks --key-file - --header /keys/h /dev/sda2 crypt", "s3cret"},
		{ResizeCommand(detached, "crypt", 2048, key), "cryptsetup resize --batch-mode --key-file - --header /keys/h --size 2048 crypt", "s3cret"},
		{ResizeCommand(c, "crypt", 0, key), "cryptsetup resize --batch-mode --key-file - crypt", "s3cret"},
		{DumpCommand(detached), "cryptsetup luksDump --dump-json-metadata /keys/h", ""},
		{CloseCommand("crypt"), "cryptsetup close crypt", ""},
	}
	for _, tt := range tests {
		in := ""
		if tt.got.Stdin != nil {
			b, err := io.ReadAll(tt.got.Stdin)
			if err != nil {
				t.Fatal(err)
			}
			in = string(b)
		}
		if tt.got.String() != tt.want || in != tt.in {
			t.Errorf("got  %s with %q\nwant %s with %q", tt.got, in, tt.want, tt.in)
		}
	}
	for _, empty := range [][2][]byte{{nil, key}, {key, nil}} {
		if cmd, err := AddKeyCommand(c, empty[0], empty[1], nil); err == nil {
			t.Errorf("an empty key gives %s", cmd)
		}
	}
}

func TestParseLayout(t *testing.T) {
	l, err := parseLayout([]byte(`{"segments":{"0":{"type":"crypt","offset":"16777216","size":"dynamic","sector_size":4096}}}`))
	if err != nil || l != (Layout{16 << 20, 4096}) {
		t.Errorf("%+v %v", l, err)
	}
	for _, bad := range []string{"", "{}", `{"segments":{"0":{"offset":"x","size":"dynamic","sector_size":512}}}`,
		`{"segments":{"0":{"offset":"0","size":"dynamic","sector_size":512},"1":{}}}`, `{"segments":{"0":{"offset":"0","size":"512","sector_size":512}}}`} {
		if l, err := parseLayout([]byte(bad)); err == nil {
			t.Errorf("%s gives %+v", bad, l)
		}
	}
}

func TestDerivation(t *testing.T) {
	got := derivation([]string{"--cipher", "aes", "--pbkdf", "argon2id", "--iter-time=500", "-i", "7", "--label", "x", "--pbkdf-memory"})
	want := []string{"--pbkdf", "argon2id", "--iter-time=500", "-i", "7", "--pbkdf-memory"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// quick keeps cryptsetup from measuring how slow it may be.
var quick = []string{"--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"}

// TestKeys makes a container in a file, which needs no device mapper.
func TestKeys(t *testing.T) {
	r := tooltest.Need(t, "cryptsetup")
	c := Container{Device: tooltest.Image(t, 32<<20)}
	if _, err := UUID(c); !errors.Is(err, ErrNone) {
		t.Errorf("before: %v", err)
	}
	binary := make([]byte, 300)
	if _, err := rand.Read(binary); err != nil {
		t.Fatal(err)
	}
	binary[10] = '\n'
	first, second, third := []byte("first"), []byte("line\n"), binary
	if err := Format(t.Context(), r, c, id, quick, first, second, third); err != nil {
		t.Fatal(err)
	}
	if got, err := UUID(c); err != nil || got != id {
		t.Errorf("UUID %q %v", got, err)
	}
	for i, key := range [][]byte{first, second, third} {
		if ok, err := HasKey(t.Context(), r, c, key); err != nil || !ok {
			t.Errorf("key %d: %v %v", i, ok, err)
		}
	}
	if ok, err := HasKey(t.Context(), r, c, []byte("line")); err != nil || ok {
		t.Errorf("a key without its line break opens it: %v", err)
	}
	before, err := os.ReadFile(c.Device)
	if err != nil {
		t.Fatal(err)
	}
	if err := AddKeys(t.Context(), r, c, quick, first, second, third); err != nil {
		t.Error(err)
	}
	if after, err := os.ReadFile(c.Device); err != nil || !bytes.Equal(before, after) {
		t.Errorf("keys were added twice: %v", err)
	}
	if l, err := ReadLayout(t.Context(), r, c); err != nil || l.Offset != 16<<20 || l.SectorSize != 512 && l.SectorSize != 4096 {
		t.Errorf("%+v %v", l, err)
	}
	err = AddKeys(t.Context(), r, c, quick, []byte("wr0ng"), []byte("n3w"))
	if !errors.Is(err, ErrWrongKey) || strings.Contains(err.Error(), "wr0ng") || strings.Contains(err.Error(), "n3w") {
		t.Errorf("with a wrong key: %v", err)
	}
	if _, err := HasKey(t.Context(), r, Container{Device: tooltest.Image(t, 1<<20)}, first); err == nil || errors.Is(err, ErrWrongKey) {
		t.Errorf("zeros: %v", err)
	}
}

// TestOpen opens, resizes and closes a container, which needs device mapper.
func TestOpen(t *testing.T) {
	tooltest.Root(t)
	r := tooltest.Need(t, "cryptsetup", "losetup")
	if _, err := os.Stat("/sys/class/misc/device-mapper"); err != nil {
		t.Skip("this kernel has no device mapper")
	}
	for _, header := range []string{"", "detached"} {
		dev := tooltest.Loop(t, 64<<20)
		c := Container{Device: dev}
		if header != "" {
			c.Header = tooltest.Image(t, 16<<20)
		}
		name, key, uid := "vic-"+uuid.NewString(), []byte("pass"), uuid.NewString()
		if err := Format(t.Context(), r, c, uid, quick, key); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), r, c, name, []byte("wrong"), Options{}); !errors.Is(err, ErrWrongKey) {
			t.Errorf("with a wrong key: %v", err)
		}
		for range 2 { // the second time it is open already
			node, err := Open(t.Context(), r, c, name, key, Options{AllowDiscards: true})
			if err != nil {
				t.Fatal(err)
			}
			if b, err := os.OpenFile(node, os.O_RDWR, 0); err != nil {
				t.Error(err)
			} else if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
		if m, open, err := Find(name); err != nil || !open || m.LUKS() != uid || m.Kind() != "LUKS" {
			t.Errorf("%+v %v %v", m, open, err)
		}
		for _, size := range []int64{20<<20 + 100, 20 << 20, 0} {
			got, err := Resize(t.Context(), r, c, name, key, size)
			l, layoutErr := ReadLayout(t.Context(), r, c)
			if layoutErr != nil {
				t.Fatal(layoutErr)
			}
			want := size - size%l.SectorSize
			if size == 0 {
				want = 64<<20 - l.Offset
			}
			if err != nil || got != want {
				t.Errorf("resized to %d: %d %v", size, got, err)
			}
		}
		for range 2 {
			if err := Close(t.Context(), r, name); err != nil {
				t.Error(err)
			}
		}
		if _, open, err := Find(name); err != nil || open {
			t.Errorf("still open: %v", err)
		}
	}
}
