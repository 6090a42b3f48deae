package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/victorinix/vic/disk/extent"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/regtest"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

const stageImage = "/var/stage.img"

// pieceSystem is a file system that has room for a piece.
func pieceSystem(t *testing.T, format string) (root string) {
	t.Helper()
	dev := tooltest.Loop(t, 400*mib)
	tooltest.Run(t, "mkfs."+format, "-q", dev)
	root = mounted(t, dev, format)
	if err := os.Mkdir(root+"/var", 0o755); err != nil {
		t.Fatal(err)
	}
	return root
}

func pieceOf(t *testing.T, root string) *extent.Piece {
	t.Helper()
	p, err := extent.Allocate(root, extent.Want{Size: 8 * mib, Align: mib})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
			t.Error(err)
		}
	})
	return p
}

// stageFileHost makes the file when it is registered, or names one that is there.
func stageFileHost(t *testing.T, root string, made bool) regtest.Host {
	t.Cleanup(func() { // or the file system cannot be unmounted by force
		if f, err := os.Open(root + stageImage); err == nil {
			_ = errors.Join(setImmutable(f, false), f.Close())
		}
	})
	var last *extent.Piece
	return regtest.Host{
		Kinds: kinds, Env: registration.Env{Run: tool.Exec{}, Root: root},
		Snapshot: func() string { return regtest.Tree(t, root) },
		Changes: func() []registration.Change {
			if last != nil {
				_ = last.Close() // its file may have gone
			}
			if made {
				c := MakePiece(stageImage, 8*mib, func(path string) (*extent.Piece, error) {
					p, err := extent.AllocateAt(path, extent.Want{Size: 8 * mib, Align: mib})
					last = p
					return p, err
				})
				return []registration.Change{c}
			}
			last = pieceOf(t, root)
			return []registration.Change{KeepPiece(stageImage, last)}
		},
	}
}

// A piece gets a name, may not be changed, and goes again.
func TestStageFile(t *testing.T) {
	for _, kind := range []struct {
		format string
		made   bool
	}{{"ext4", false}, {"ext4", true}, {"xfs", false}} {
		t.Run(fmt.Sprint(kind.format, " made ", kind.made), func(t *testing.T) {
			root := pieceSystem(t, kind.format)
			h := stageFileHost(t, root, kind.made)
			s := regtest.Open(t, h, regtest.Dir(t), nil)
			if _, err := s.Do(t.Context(), h.Changes()[0]); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(root + stageImage); !errors.Is(err, fs.ErrPermission) {
				t.Errorf("it can be removed: %v", err)
			}
			if _, err := os.OpenFile(root+stageImage, os.O_WRONLY, 0); !errors.Is(err, fs.ErrPermission) {
				t.Errorf("it can be written: %v", err)
			}
			if got := undone(t, s); got != "taken back" {
				t.Error(got)
			}
			regtest.Run(t, stageFileHost(t, root, kind.made))
		})
	}
}

// A file whose making was cut off goes.
func TestStageFileCutOff(t *testing.T) {
	root := pieceSystem(t, "ext4")
	s := regtest.Open(t, stageFileHost(t, root, true), regtest.Dir(t), nil)
	cut := errors.New("cut off")
	c := MakePiece(stageImage, 8*mib, func(path string) (*extent.Piece, error) {
		return nil, errors.Join(cut, os.WriteFile(path, make([]byte, mib), 0o600))
	})
	if _, err := s.Do(t.Context(), c); !errors.Is(err, cut) {
		t.Fatal(err)
	}
	if list := s.List(t.Context()); len(list) != 1 || list[0].Standing.Is != registration.Partly {
		t.Errorf("%+v", list)
	}
	if got := undone(t, s); got != "taken back" {
		t.Error(got)
	}
	if _, err := os.Lstat(root + stageImage); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// Another file at its place stays.
func TestStageFileChanged(t *testing.T) {
	root := pieceSystem(t, "ext4")
	h := stageFileHost(t, root, false)
	path := filepath.Join(root, stageImage)
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := regtest.Open(t, h, regtest.Dir(t), nil)
	if _, err := s.Do(t.Context(), h.Changes()[0]); !errors.Is(err, fs.ErrExist) {
		t.Errorf("there was a file: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Do(t.Context(), h.Changes()[0]); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err == nil {
		err = errors.Join(setImmutable(f, false), f.Close(), os.Remove(path), os.WriteFile(path, []byte("mine"), 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	list, err := s.Undo(t.Context(), registration.Selection{All: true})
	if err != nil || len(list) != 1 || list[0].Undone() || !strings.Contains(list[0].Reason, "another file") {
		t.Errorf("%+v %v", list, err)
	}
	if b, err := os.ReadFile(path); string(b) != "mine" {
		t.Error("the other file is gone", err)
	}
}
