package raspberry

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/disk"
)

// StateSize is the size of the state partition in an image, in bytes. It grows to
// that of the card.
const StateSize = 16 << 20

// SecretsFile is where the secrets of a card are in its state: a JSON object.
const SecretsFile = "secrets.json"

// StateFile is a file of the state. All belong to root.
type StateFile struct {
	Path string // slash-separated, relative
	Mode int64  // permission bits
	Data []byte
}

// Overlay is what goes onto a card in place of the image's bytes.
type Overlay struct {
	Offset int64 // bytes from the beginning of the card
	Data   []byte
}

// State makes the state partition anew, with files in it: secrets, which are in no
// image because images are shared. It is put over that of the image.
func (c *Card) State(ctx context.Context, env builder.Env, files []StateFile) (Overlay, error) {
	id, err := uuid.Parse(c.StateUUID)
	if err != nil {
		return Overlay{}, fmt.Errorf("make the state of a card: %w", err)
	}
	data, err := makeState(ctx, env, id, files)
	if err != nil {
		return Overlay{}, fmt.Errorf("make the state of a card: %w", err)
	}
	return Overlay{c.StateArea.Offset, data}, nil
}

// growable is how many blocks of 4 KiB the file system has the room to describe
// without being laid out anew: 1 TiB.
const growable = 1 << 28

// makeState makes the file system. It is never anywhere that others can read.
func makeState(ctx context.Context, env builder.Env, id uuid.UUID, files []StateFile) ([]byte, error) {
	archive, err := env.Tools(ctx, Suite, runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	// mke2fs takes libarchive for tars when it is there (dlopen(3)).
	tools, err := deb.OpenTools(ctx, archive, "e2fsprogs", "libarchive13t64")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(env.Cache, "state-") // 0700
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	image := filepath.Join(dir, "state")
	fs := disk.Filesystem{Format: "ext4", UUID: id.String(), Label: "vic-state", Args: []string{
		"-E", "resize=" + strconv.Itoa(growable) + ",root_owner=0:0",
		"-N", "512", "-m", "0", "-J", "size=4", "-d", "-"}}
	c, err := disk.MkfsCommand(fs, image, env.Time)
	if err != nil {
		return nil, err
	}
	c.Args = append(c.Args, strconv.Itoa(StateSize/4096))
	c.Env = append(c.Env, "MKE2FS_CONFIG="+tools.Path("etc/mke2fs.conf"))
	var in bytes.Buffer
	if err := writeTar(&in, env, files); err != nil {
		return nil, err
	}
	c.Stdin = &in
	if _, err := tools.Run(ctx, c); err != nil {
		return nil, err
	}
	return os.ReadFile(image)
}

// writeTar writes the files with the folders that they are in.
func writeTar(w *bytes.Buffer, env builder.Env, files []StateFile) error {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b StateFile) int { return strings.Compare(a.Path, b.Path) })
	t := tar.NewWriter(w)
	made := map[string]bool{".": true}
	var mkdir func(dir string) error
	mkdir = func(dir string) error {
		if made[dir] {
			return nil
		}
		made[dir] = true
		if err := mkdir(path.Dir(dir)); err != nil {
			return err
		}
		return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "./" + dir + "/", Mode: 0o755, ModTime: env.Time})
	}
	for _, f := range files {
		if !filepath.IsLocal(f.Path) {
			return fmt.Errorf("file %q is not within the state", f.Path)
		}
		if err := mkdir(path.Dir(f.Path)); err != nil {
			return err
		}
		h := tar.Header{Typeflag: tar.TypeReg, Name: "./" + f.Path, Mode: f.Mode, Size: int64(len(f.Data)), ModTime: env.Time}
		if err := t.WriteHeader(&h); err != nil {
			return err
		}
		if _, err := t.Write(f.Data); err != nil {
			return err
		}
	}
	return t.Close()
}
