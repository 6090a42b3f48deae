package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// fromPayload calls f with the payload's tree and nothing mounted in it.
func fromPayload(f func(dir string) (int64, error)) (n int64, err error) {
	const dir = "/source"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	// Not recursive: what is mounted below stays behind.
	if err := unix.Mount(payload, dir, "", unix.MS_BIND, ""); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, unix.Unmount(dir, 0)) }()
	return f(dir)
}

// readTree only reads the tree, on two processors: what is left of a copy when
// writing costs nothing.
func readTree(ctx context.Context) (int64, error) {
	return fromPayload(func(dir string) (int64, error) {
		g, ctx := errgroup.WithContext(ctx)
		paths := make(chan string)
		counts := make([]int64, 2)
		for i := range counts {
			g.Go(func() error { return readFiles(paths, &counts[i]) })
		}
		g.Go(func() error {
			defer close(paths)
			return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.Type().IsRegular() {
					select {
					case paths <- path:
					case <-ctx.Done():
						return ctx.Err()
					}
				}
				return err
			})
		})
		err := g.Wait()
		return counts[0] + counts[1], err
	})
}

func readFiles(paths <-chan string, count *int64) error {
	buf := make([]byte, 256<<10)
	for path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, buf)
		*count += n
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}
