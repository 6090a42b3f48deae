package secret

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Host is the Source of this machine. A file ~/NAME is in the home directory,
// because shells do not expand the ~ in NAME=@~/FILE.
type Host struct {
	// Limit is how much of a file is read, in bytes; 0: no more than a secret can
	// have, so that a device given by mistake does not fill the memory.
	Limit int64
}

// LookupEnv implements Source.
func (Host) LookupEnv(name string) (string, bool) { return os.LookupEnv(name) }

// ReadFile implements Source.
func (h Host) ReadFile(name string) (b []byte, err error) {
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, fmt.Errorf("find home directory for %s: %w", name, err)
		}
		name = filepath.Join(home, rest)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, cmp.Or(h.Limit, MaxSize+3)))
}
