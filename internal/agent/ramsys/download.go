package ramsys

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A download that brings nothing for stallLimit starts again where it stopped;
// after tries starts in a row that brought nothing, it is given up.
const (
	stallLimit = 20 * time.Second
	tries      = 5
)

// download fetches url into memory: into a ramfs, from which the kernel mounts
// an erofs without a loop device.
func download(ctx context.Context, url, sha string, progress func(done, total int64)) (string, error) {
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
	t := &transfer{url: url, file: f, sum: sha256.New(), progress: progress}
	for failed := 0; ; {
		before := t.done
		err := t.attempt(ctx)
		if err == nil {
			return compare(url, t.sum, sha)
		}
		if t.done > before {
			failed = 0
		}
		failed++
		if failed == tries || ctx.Err() != nil || errors.Is(err, errFinal) {
			return fmt.Errorf("download %s: %w", url, err)
		}
		select {
		case <-time.After(time.Duration(failed) * 500 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// errFinal marks an answer that would be the same the next time.
var errFinal = errors.New("no use in trying again")

// transfer is a download that may take several attempts. The hash runs along.
type transfer struct {
	url      string
	file     io.Writer
	sum      hash.Hash
	done     int64
	progress func(done, total int64)
}

// attempt asks for the rest and appends it.
func (t *transfer) attempt(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(stallLimit, func() { cancel(fmt.Errorf("nothing came for %v", stallLimit)) })
	defer stall.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url, nil)
	if err != nil {
		return errors.Join(errFinal, err)
	}
	if t.done > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", t.done))
	}
	resp, err := client().Do(req)
	if err != nil {
		return cause(ctx, err)
	}
	defer resp.Body.Close()
	if err := t.skip(resp); err != nil {
		return err
	}
	w := &counter{ctx: ctx, w: io.MultiWriter(t.file, t.sum), done: t.done, total: t.done + max(resp.ContentLength, 0),
		progress: func(done, total int64) { stall.Reset(stallLimit); t.done = done; t.progress(done, total) }}
	_, err = io.Copy(w, resp.Body)
	return cause(ctx, err)
}

// skip passes over what is there already, when the server starts from the
// beginning, and refuses answers that are not the file.
func (t *transfer) skip(resp *http.Response) error {
	switch {
	case resp.StatusCode == http.StatusPartialContent && t.done > 0:
		return nil
	case resp.StatusCode == http.StatusOK:
		n, err := io.CopyN(io.Discard, resp.Body, t.done)
		resp.ContentLength -= n
		return err
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
		return errors.New(resp.Status)
	}
	return fmt.Errorf("%s: %w", resp.Status, errFinal)
}

// client does not check certificates: before the system is there, neither are
// the authorities, and what is downloaded is trusted by its hash alone.
func client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives: true, ForceAttemptHTTP2: false,
	}}
}

// cause prefers the reason of a cancelled context to what it broke.
func cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, unix.ENOSPC) {
		return errors.Join(errFinal, err)
	}
	return err
}
