package capture

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteDir makes a folder, which must not exist yet or be empty, with the
// entries in it. Only its owner can look into it.
func WriteDir(dir string, entries []Entry) error {
	if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
		names, err := os.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("write capture: %w", err)
		}
		if len(names) > 0 {
			return fmt.Errorf("write capture: %s is not empty", dir)
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			return fmt.Errorf("write capture: %w", err)
		}
	} else if err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	// Nothing leads out of it: a link is made after everything below its name
	// would have been, which is nothing.
	for _, e := range entries {
		if err := write(filepath.Join(dir, e.Path), e); err != nil {
			return fmt.Errorf("write capture: %w", err)
		}
	}
	return nil
}

func write(path string, e Entry) error {
	switch {
	case e.Mode.IsDir():
		return os.Mkdir(path, 0o700)
	case e.Mode&fs.ModeSymlink != 0:
		return os.Symlink(e.Target, path)
	}
	return os.WriteFile(path, e.Content, 0o600)
}

// WriteTar writes an archive of the entries.
func WriteTar(w io.Writer, entries []Entry) error {
	t := tar.NewWriter(w)
	for _, e := range entries {
		h := tar.Header{Name: e.Path, Mode: 0o600, Size: int64(len(e.Content)), Typeflag: tar.TypeReg}
		switch {
		case e.Mode.IsDir():
			h.Name, h.Mode, h.Size, h.Typeflag = e.Path+"/", 0o700, 0, tar.TypeDir
		case e.Mode&fs.ModeSymlink != 0:
			h.Linkname, h.Mode, h.Size, h.Typeflag = e.Target, 0o777, 0, tar.TypeSymlink
		}
		if err := t.WriteHeader(&h); err != nil {
			return fmt.Errorf("write capture: %s: %w", e.Path, err)
		}
		if h.Size == 0 {
			continue
		}
		if _, err := t.Write(e.Content); err != nil {
			return fmt.Errorf("write capture: %s: %w", e.Path, err)
		}
	}
	return t.Close()
}
