package deb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// permanent marks an error that another try will not mend.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// maxBackoff bounds the pause between two tries.
const maxBackoff = 30 * time.Second

// patiently repeats try until it succeeds, fails for good, or has failed
// Retry.Attempts times in a row without bringing anything.
func (f *fetcher) patiently(ctx context.Context, try func() (progress bool, err error)) error {
	fruitless := 0
	wait := f.retry.Backoff
	for {
		progress, err := try()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if progress {
			fruitless, wait = 0, f.retry.Backoff
		}
		var final permanent
		if errors.As(err, &final) {
			return final.error
		}
		if fruitless++; fruitless >= f.retry.Attempts {
			return fmt.Errorf("%w (gave up after %d tries)", err, fruitless)
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, maxBackoff)
	}
}

// errStall is the cause when a mirror sends nothing.
type errStall struct{ after time.Duration }

func (e errStall) Error() string { return fmt.Sprintf("the mirror sent nothing for %v", e.after) }

// open starts reading a file of the mirror at offset. from is where the body
// really starts: 0 when the mirror does not do ranges.
func (f *fetcher) open(ctx context.Context, rel string, offset int64) (body io.ReadCloser, from int64, err error) {
	u, err := url.Parse(f.mirror)
	if err != nil {
		return nil, 0, permanent{fmt.Errorf("mirror: %w", err)}
	}
	u = u.JoinPath(strings.Split(rel, "/")...)
	switch u.Scheme {
	case "file":
		return openLocal(u.Path, offset)
	case "http", "https":
		return f.get(ctx, u, offset)
	}
	return nil, 0, permanent{fmt.Errorf("mirror %s: scheme %q is not http, https or file", f.url(""), u.Scheme)}
}

func openLocal(path string, offset int64) (io.ReadCloser, int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, permanent{err}
	}
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		file.Close()
		return nil, 0, permanent{err}
	}
	return file, offset, nil
}

func (f *fetcher) get(ctx context.Context, u *url.URL, offset int64) (io.ReadCloser, int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		cancel(nil)
		return nil, 0, permanent{err}
	}
	req.Header.Set("User-Agent", "vic")
	req.Header.Set("Cache-Control", "max-age=0") // a proxy's old InRelease would not fit Packages
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	body := &watchedBody{ctx: ctx, cancel: cancel, stall: f.retry.Stall}
	body.watch()
	resp, err := f.client.Do(req)
	if err != nil {
		body.timer.Stop()
		return nil, 0, body.reason(err)
	}
	body.Reader, body.closer = resp.Body, resp.Body
	from, err := bodyStart(resp, offset)
	if err != nil {
		body.Close()
		return nil, 0, err
	}
	return body, from, nil
}

// bodyStart interprets the status: where in the file does the body start?
func bodyStart(resp *http.Response, offset int64) (int64, error) {
	switch code := resp.StatusCode; {
	case code == http.StatusOK:
		return 0, nil
	case code == http.StatusPartialContent:
		var start int64
		_, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-", &start)
		if err != nil || start != offset {
			return 0, permanent{fmt.Errorf("asked for the bytes from %d on, the mirror sends %q", offset, resp.Header.Get("Content-Range"))}
		}
		return start, nil
	case code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout:
		return 0, fmt.Errorf("the mirror says %s", resp.Status)
	default:
		return 0, permanent{fmt.Errorf("the mirror says %s", resp.Status)}
	}
}

// watchedBody ends a response when no byte comes for the time of stall.
type watchedBody struct {
	io.Reader
	closer io.Closer
	ctx    context.Context
	cancel context.CancelCauseFunc
	stall  time.Duration
	timer  *time.Timer
}

func (b *watchedBody) watch() {
	b.timer = time.AfterFunc(b.stall, func() { b.cancel(errStall{b.stall}) })
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if n > 0 {
		b.timer.Reset(b.stall)
	}
	if err != nil && err != io.EOF {
		err = b.reason(err)
	}
	return n, err
}

// reason prefers the stall over "context canceled".
func (b *watchedBody) reason(err error) error {
	var stall errStall
	if errors.As(context.Cause(b.ctx), &stall) {
		return stall
	}
	return err
}

func (b *watchedBody) Close() error {
	b.timer.Stop()
	err := b.closer.Close()
	b.cancel(nil)
	return err
}
