package supervisor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxOutput is the size of the largest output, in bytes.
const maxOutput = 16 << 10

// Outputs are where a service writes what it found out: a folder with a file for
// each key.
type Outputs string

// Own are those of the service that this process belongs to. It is an error not
// to be one.
func Own() (Outputs, error) {
	dir := os.Getenv("VIC_OUTPUTS")
	if dir == "" {
		return "", errors.New("VIC_OUTPUTS is not set: this is not run as a service")
	}
	return Outputs(dir), nil
}

// Of are those of another service.
func Of(name string) Outputs {
	dir := os.Getenv("VIC_SERVICES")
	if dir == "" {
		dir = Dir
	}
	return Outputs(filepath.Join(dir, name, "outputs"))
}

// Set writes an output; nobody ever reads half of it.
func (o Outputs) Set(key, value string) error {
	if old, there, err := o.Get(key); err == nil && there && old == value {
		return nil
	}
	if err := replaceFile(filepath.Join(string(o), key), []byte(value+"\n"), 0o644); err != nil {
		return fmt.Errorf("write output %s: %w", key, err)
	}
	return nil
}

// Delete takes an output back.
func (o Outputs) Delete(key string) error {
	if err := os.Remove(filepath.Join(string(o), key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove output %s: %w", key, err)
	}
	return nil
}

// Get reads an output, without the newline at its end.
func (o Outputs) Get(key string) (value string, there bool, err error) {
	return readOutput(filepath.Join(string(o), key))
}

func readOutput(path string) (value string, there bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read output: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxOutput+1))
	if err != nil {
		return "", false, fmt.Errorf("read output: %w", err)
	}
	if len(b) > maxOutput {
		return "", false, fmt.Errorf("read output %s: longer than %d bytes", path, maxOutput)
	}
	return strings.TrimSuffix(string(b), "\n"), true, nil
}

// clearOutputs removes what is in the folder of the outputs.
func clearOutputs(dir string) error {
	entries, err := os.ReadDir(dir)
	errs := []error{err}
	for _, e := range entries {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return errors.Join(errs...)
}

// replaceFile writes a file that is there as a whole, or as it was before. Its
// temporary name begins with a dot: nobody takes it for an output.
func replaceFile(path string, content []byte, mode os.FileMode) error {
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	if err := os.WriteFile(tmp, content, mode); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
