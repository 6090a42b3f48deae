package ramsys

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/victorinix/vic/internal/agent/download"
)

// fetchSystem fetches the system erofs into memory: into a ramfs, from which the
// kernel mounts an erofs without a loop device.
func fetchSystem(ctx context.Context, url, sha string, progress func(done, total int64)) (string, error) {
	if err := (fileSystem{"ramfs", downloadDir, "ramfs", secure, "mode=0700"}).mount(); err != nil {
		return "", err
	}
	path := filepath.Join(downloadDir, "system.erofs")
	return path, fetch(ctx, url, sha, path, progress)
}

// fetch downloads url to path, and removes what does not have the hash.
func fetch(ctx context.Context, url, sha, path string, progress func(done, total int64)) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	sum := sha256.New()
	if err := download.To(ctx, url, io.MultiWriter(f, sum), progress); err != nil {
		return err
	}
	return compare(url, sum, sha)
}
