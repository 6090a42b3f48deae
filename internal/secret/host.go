package secret

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Host is the Source of this machine. A file ~/NAME is in the home directory,
// because shells do not expand the ~ in NAME=@~/FILE.
type Host struct{}

// LookupEnv implements Source.
func (Host) LookupEnv(name string) (string, bool) { return os.LookupEnv(name) }

// ReadFile implements Source. It reads no more than a secret can have, so that
// a device given by mistake does not fill the memory.
func (Host) ReadFile(name string) (b []byte, err error) {
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
	return io.ReadAll(io.LimitReader(f, MaxSize+3))
}
