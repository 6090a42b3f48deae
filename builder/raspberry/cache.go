package raspberry

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/victorinix/vic/builder"
)

// kept are files that take long to make and follow from a key: what a folder of the
// cache has, or what is made and put there.
//
//	CACHE/raspberry/KEY/NAME
func kept(env builder.Env, key string, produce func() (map[string][]byte, error)) (map[string][]byte, error) {
	dir := filepath.Join(env.Cache, "raspberry", key)
	if files, err := readFolder(dir); !errors.Is(err, fs.ErrNotExist) {
		return files, err
	}
	files, err := produce()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".new-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(tmp, name), data, 0o644); err != nil {
			return nil, err
		}
	}
	if err := os.Rename(tmp, dir); err != nil && !errors.Is(err, fs.ErrExist) { // another vic was quicker
		return nil, err
	}
	return files, nil
}

func readFolder(dir string) (map[string][]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, e := range entries {
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
	}
	return files, nil
}
