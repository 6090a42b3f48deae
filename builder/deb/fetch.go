package deb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// parallel is the number of downloads at a time.
const parallel = 4

// download is one file wanted from the mirror.
type download struct {
	rel  string // path below the mirror
	name string // for people
	fileHash
}

// fetcher brings files from the mirror into the store.
type fetcher struct {
	mirror   string
	offline  bool
	retry    Retry
	store    store
	client   *http.Client
	progress func(Progress)
}

func newFetcher(cfg Config, s store) *fetcher {
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: cfg.Retry.Stall}).DialContext,
		TLSHandshakeTimeout:    cfg.Retry.Stall,
		MaxIdleConnsPerHost:    parallel,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // hashes and offsets are of the bytes as stored
		MaxResponseHeaderBytes: 64 << 10,
	}
	return &fetcher{
		mirror: strings.TrimRight(cfg.Mirror, "/"), offline: cfg.Offline, retry: cfg.Retry,
		store: s, client: &http.Client{Transport: transport}, progress: cfg.Progress,
	}
}

// Fetch brings packages into the cache and returns the paths of their .debs,
// in the same order. Files that are there already are hashed again and kept.
func (a *Archive) Fetch(ctx context.Context, pkgs []Package) ([]string, error) {
	list := make([]download, len(pkgs))
	for i, p := range pkgs {
		if err := p.check(); err != nil {
			return nil, err
		}
		list[i] = download{rel: p.Filename, name: p.Name, fileHash: fileHash{p.SHA256, p.Size}}
	}
	return a.fetcher.all(ctx, list)
}

// all downloads what the store lacks and returns the paths.
func (f *fetcher) all(ctx context.Context, list []download) ([]string, error) {
	t := newTally(list, f.progress)
	paths := make([]string, len(list))
	missing := make([]bool, len(list))
	var need int64
	g := new(errgroup.Group)
	g.SetLimit(parallel)
	for i, d := range list {
		paths[i] = f.store.path(d.sha256)
		g.Go(func() error { missing[i] = !f.store.has(d.fileHash); return nil })
	}
	g.Wait()
	for i, d := range list {
		if missing[i] {
			need += d.size
		} else {
			t.add(d, d.size)
			t.finish(d)
		}
	}
	if !slices.Contains(missing, true) { // not need == 0: a file may be empty
		return paths, nil
	}
	if !f.offline {
		if err := f.store.checkSpace(need); err != nil {
			return nil, err
		}
	}
	g, ctx = errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, d := range list {
		if missing[i] {
			g.Go(func() error { return f.one(ctx, d, t) })
		}
	}
	return paths, g.Wait()
}

// one downloads a file, resuming what an earlier run left.
func (f *fetcher) one(ctx context.Context, d download, t *tally) error {
	if f.offline {
		return fmt.Errorf("%s: %w", d.name, ErrOffline)
	}
	file, err := f.store.partial(ctx, d.sha256)
	if err != nil {
		return fmt.Errorf("download %s: %w", d.name, err)
	}
	defer file.Close()
	if f.store.has(d.fileHash) { // another process was quicker
		os.Remove(file.Name())
		t.add(d, d.size)
		t.finish(d)
		return nil
	}
	for restarted := false; ; restarted = true {
		resumed, err := f.complete(ctx, file, d, t)
		if err == nil {
			err = f.store.promote(file, d.fileHash)
		}
		if err == nil {
			t.finish(d)
			return nil
		}
		if !errors.Is(err, ErrHash) {
			return fmt.Errorf("download %s from %s: %w", d.name, f.url(d.rel), err)
		}
		if terr := discard(file, d, t); terr != nil {
			return fmt.Errorf("download %s: %w", d.name, terr)
		}
		if !resumed || restarted {
			os.Remove(file.Name())
			return fmt.Errorf("download %s from %s: %w", d.name, f.url(d.rel), err)
		}
	}
}

// discard empties a partial file that turned out to be wrong.
func discard(file *os.File, d download, t *tally) error {
	st, err := file.Stat()
	if err != nil {
		return err
	}
	t.add(d, -st.Size())
	return file.Truncate(0)
}

// complete repeats attempts until the file has its full size, and says whether
// the first bytes are from an earlier run.
func (f *fetcher) complete(ctx context.Context, file *os.File, d download, t *tally) (resumed bool, err error) {
	have, err := startSize(file, d.size)
	if err != nil {
		return false, err
	}
	t.add(d, have)
	resumed = have > 0
	err = f.patiently(ctx, func() (bool, error) {
		if have == d.size {
			return true, nil
		}
		before := have
		have, err = f.attempt(ctx, file, d, have, t)
		return have > before, err
	})
	return resumed, err
}

// startSize is how much of a partial file to keep.
func startSize(file *os.File, want int64) (int64, error) {
	st, err := file.Stat()
	if err != nil {
		return 0, err
	}
	if st.Size() <= want {
		return st.Size(), nil
	}
	return 0, file.Truncate(0)
}

// attempt asks the mirror once for the bytes from have on. It returns how many
// are there now.
func (f *fetcher) attempt(ctx context.Context, file *os.File, d download, have int64, t *tally) (int64, error) {
	body, from, err := f.open(ctx, d.rel, have)
	if err != nil {
		return have, err
	}
	defer body.Close()
	if from != have { // the mirror does not do ranges
		t.add(d, from-have)
		if err := file.Truncate(from); err != nil {
			return have, permanent{err}
		}
		have = from
	}
	w := &offsetWriter{file: file, at: have, limit: d.size, wrote: func(n int64) { t.add(d, n) }}
	_, err = io.Copy(w, body)
	if err == nil && w.at < d.size {
		err = fmt.Errorf("the mirror sent %d of %d bytes: %w", w.at, d.size, io.ErrUnexpectedEOF)
	}
	return w.at, err
}

// offsetWriter appends to a partial file; what goes wrong there is final.
type offsetWriter struct {
	file      *os.File
	at, limit int64
	wrote     func(int64)
}

func (w *offsetWriter) Write(p []byte) (int, error) {
	if w.at+int64(len(p)) > w.limit {
		return 0, permanent{fmt.Errorf("%w: the mirror sends more than the %d bytes announced", ErrHash, w.limit)}
	}
	n, err := w.file.WriteAt(p, w.at)
	w.at += int64(n)
	w.wrote(int64(n))
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = fmt.Errorf("the disk of the cache is full, %d bytes are missing: %w", w.limit-w.at, err)
	}
	if err != nil {
		err = permanent{err}
	}
	return n, err
}

// small reads a file of unknown size and hash, at most max bytes.
func (f *fetcher) small(ctx context.Context, rel string, max int64) ([]byte, error) {
	var b []byte
	err := f.patiently(ctx, func() (bool, error) {
		body, _, err := f.open(ctx, rel, 0)
		if err != nil {
			return false, err
		}
		defer body.Close()
		b, err = io.ReadAll(io.LimitReader(body, max+1))
		if int64(len(b)) > max {
			return false, permanent{fmt.Errorf("it has more than %d bytes", max)}
		}
		return false, err
	})
	if err != nil {
		return nil, fmt.Errorf("download %s: %w", f.url(rel), err)
	}
	return b, nil
}

// url is the address of a file, fit to be printed: without a password.
func (f *fetcher) url(rel string) string {
	u, err := url.Parse(f.mirror + "/" + rel)
	if err != nil {
		return rel
	}
	return u.Redacted()
}

// tally adds up the progress of a group of downloads.
type tally struct {
	mu sync.Mutex
	p  Progress
	to func(Progress)
}

func newTally(list []download, to func(Progress)) *tally {
	t := &tally{to: to}
	t.p.FilesTotal = len(list)
	for _, d := range list {
		t.p.Total += d.size
	}
	return t
}

func (t *tally) add(d download, n int64) { t.update(d, n, 0) }

func (t *tally) finish(d download) { t.update(d, 0, 1) }

func (t *tally) update(d download, bytes int64, files int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.p.Name, t.p.Done, t.p.Files = d.name, t.p.Done+bytes, t.p.Files+files
	if t.to != nil {
		t.to(t.p)
	}
}

// pause waits, or returns early when ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
