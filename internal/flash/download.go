package flash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// stall is how long a server may say nothing.
	stall = 30 * time.Second
	// tries is how often a download is taken up again without a byte of progress.
	tries = 6
)

// ErrDownload is wrapped by errors of a server or of the network.
var ErrDownload = errors.New("download")

// download is the body of a URL. A connection that breaks is taken up again
// where it ended.
type download struct {
	ctx    context.Context
	src    Source
	url    string
	body   io.ReadCloser
	cancel context.CancelFunc
	off    int64
	size   int64  // -1: unknown
	tag    string // ETag or date, so that the rest is of the same file
	failed int    // tries without progress
	wait   time.Duration
}

func (s Source) download(ctx context.Context, url string) (*download, error) {
	d := &download{ctx: ctx, src: s, url: url, size: -1, wait: time.Second}
	for {
		err := d.connect()
		if err == nil {
			return d, nil
		}
		if err := d.retry(err); err != nil {
			return nil, err
		}
	}
}

// permanent is an answer that does not change by asking again.
type permanent struct{ error }

// connect asks for the file from d.off on.
func (d *download) connect() error {
	ctx, cancel := context.WithCancel(d.ctx)
	resp, err := d.ask(ctx, cancel)
	if err != nil {
		cancel()
		return err
	}
	switch {
	case resp.StatusCode == http.StatusPartialContent && d.off > 0:
		err = d.sameRange(resp.Header.Get("Content-Range"))
	case resp.StatusCode == http.StatusOK:
		err = d.whole(resp, cancel)
	case resp.StatusCode/100 == 5, resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusRequestTimeout:
		err = errors.New(resp.Status)
	default:
		err = permanent{errors.New(resp.Status)}
	}
	if err != nil {
		cancel()
		return errors.Join(err, resp.Body.Close())
	}
	d.body, d.cancel = resp.Body, cancel
	return nil
}

func (d *download) ask(ctx context.Context, cancel func()) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url, nil)
	if err != nil {
		return nil, permanent{err}
	}
	req.Header.Set("Accept-Encoding", "identity") // the bytes that the hash is of
	if d.off > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.off))
		if d.tag != "" {
			req.Header.Set("If-Range", d.tag)
		}
	}
	client := d.src.Client
	if client == nil {
		client = http.DefaultClient
	}
	timer := time.AfterFunc(stall, cancel)
	defer timer.Stop()
	return client.Do(req)
}

// sameRange checks that the rest begins where it was asked for.
func (d *download) sameRange(header string) error {
	begin, ok := strings.CutPrefix(header, fmt.Sprintf("bytes %d-", d.off))
	_, total, _ := strings.Cut(begin, "/")
	if n, err := strconv.ParseInt(total, 10, 64); !ok || err == nil && d.size >= 0 && n != d.size {
		return permanent{fmt.Errorf("the server sends %q, asked for the rest from byte %d of %d", header, d.off, d.size)}
	}
	return nil
}

// whole takes an answer with all of the file: the first one, or from a server
// that cannot send parts. Then what is known already is read again.
func (d *download) whole(resp *http.Response, cancel func()) error {
	tag := resp.Header.Get("ETag")
	if tag == "" || strings.HasPrefix(tag, "W/") {
		tag = resp.Header.Get("Last-Modified")
	}
	if d.off == 0 {
		d.size, d.tag = resp.ContentLength, tag
		return nil
	}
	if tag != d.tag || resp.ContentLength != d.size {
		return permanent{errors.New("the file has changed on the server")}
	}
	quiet := time.AfterFunc(stall, cancel)
	defer quiet.Stop()
	_, err := io.CopyN(watched{quiet}, resp.Body, d.off)
	return err
}

// watched puts a time limit off with every byte.
type watched struct{ *time.Timer }

func (w watched) Write(b []byte) (int, error) {
	w.Reset(stall)
	return len(b), nil
}

// Read implements io.Reader.
func (d *download) Read(b []byte) (int, error) {
	for {
		n, err := d.readSome(b)
		d.off += int64(n)
		switch {
		case n > 0:
			d.failed, d.wait = 0, time.Second
			return n, nil // an error comes again
		case errors.Is(err, io.EOF) && (d.size < 0 || d.off == d.size):
			return 0, io.EOF
		case errors.Is(err, io.EOF):
			err = io.ErrUnexpectedEOF
		}
		if err == nil {
			continue
		}
		if err := d.again(err); err != nil {
			return 0, err
		}
	}
}

func (d *download) readSome(b []byte) (int, error) {
	quiet := time.AfterFunc(stall, d.cancel)
	defer quiet.Stop()
	return d.body.Read(b)
}

// again connects until that succeeds or there is no hope.
func (d *download) again(err error) error {
	d.cancel()
	_ = d.body.Close() // of a connection that is broken
	for {
		if err := d.retry(err); err != nil {
			return err
		}
		if err = d.connect(); err == nil {
			return nil
		}
	}
}

// retry waits a while, longer each time.
func (d *download) retry(err error) error {
	var final permanent
	d.failed++
	switch {
	case d.ctx.Err() != nil:
		return context.Cause(d.ctx)
	case errors.As(err, &final), d.failed > tries:
		return fmt.Errorf("%w %s at byte %d: %w", ErrDownload, d.url, d.off, err)
	}
	if d.src.Warn != nil {
		d.src.Warn(fmt.Sprintf("the download broke at byte %d (%v); trying again in %v", d.off, err, d.wait))
	}
	select {
	case <-time.After(d.wait):
	case <-d.ctx.Done():
		return context.Cause(d.ctx)
	}
	d.wait = min(2*d.wait, stall)
	return nil
}

// Close implements io.Closer.
func (d *download) Close() error {
	d.cancel()
	return d.body.Close()
}
