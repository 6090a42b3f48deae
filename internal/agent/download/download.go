// Package download fetches files over HTTP and HTTPS that are known by their hash:
// the system image of the RAM system, and payloads. Certificates are not checked:
// the authorities are not known in RAM, and the hash, which comes by another way, is
// all that is trusted.
//
// The functions of this package do not compare it: their callers do, with what
// reached the disk.
package download

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A download that brings nothing for stallLimit starts again where it stopped;
// after tries starts in a row that brought nothing, it is given up.
const (
	stallLimit = 20 * time.Second
	tries      = 5
)

// To appends what is at url to w. progress is told the bytes that there are, and
// how many there will be.
func To(ctx context.Context, url string, w io.Writer, progress func(done, total int64)) error {
	t := &transfer{url: url, to: w, progress: progress}
	return again(ctx, url, &t.done, t.attempt)
}

// Check asks for the file at url, and refuses one that has not size bytes.
func Check(ctx context.Context, url string, size int64) error {
	var none int64
	found := int64(-1)
	err := again(ctx, url, &none, func(ctx context.Context) (err error) {
		found, err = measure(ctx, url)
		return err
	})
	if err == nil && found != size {
		err = fmt.Errorf("download %s: it has %d bytes, expected %d", url, found, size)
	}
	return err
}

// again makes attempts until one succeeds, or several in a row have brought nothing.
func again(ctx context.Context, url string, done *int64, attempt func(context.Context) error) error {
	for failed := 0; ; {
		before := *done
		err := attempt(ctx)
		if err == nil {
			return nil
		}
		if *done > before {
			failed = 0
		}
		failed++
		if failed == tries || ctx.Err() != nil || errors.As(err, new(final)) {
			return fmt.Errorf("download %s: %w", url, err)
		}
		select {
		case <-time.After(time.Duration(failed) * 500 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// final is an error that would be the same the next time.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// transfer is a download that may take several attempts.
type transfer struct {
	url      string
	to       io.Writer
	done     int64
	progress func(done, total int64)
}

// attempt asks for the rest and appends it.
func (t *transfer) attempt(ctx context.Context) error {
	ctx, stall, cancel := stalling(ctx)
	defer cancel()
	resp, err := get(ctx, t.url, t.done, "")
	if err != nil {
		return cause(ctx, err)
	}
	defer resp.Body.Close()
	if err := t.skip(resp); err != nil {
		return err
	}
	w := &counted{transfer: t, stall: stall, total: t.done + max(resp.ContentLength, 0)}
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
	}
	return refusal(resp)
}

// counted passes on what is written, and tells how much it was.
type counted struct {
	*transfer
	stall *time.Timer
	total int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.done += int64(n)
	if err != nil {
		return n, final{err} // a disk that is full, say
	}
	c.stall.Reset(stallLimit)
	c.progress(c.done, c.total)
	return n, nil
}

// measure asks for the first byte: servers that do not take HEAD give it.
func measure(ctx context.Context, url string) (int64, error) {
	ctx, _, cancel := stalling(ctx)
	defer cancel()
	resp, err := get(ctx, url, 0, "0")
	if err != nil {
		return 0, cause(ctx, err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return resp.ContentLength, nil
	case http.StatusPartialContent:
		_, total, _ := strings.Cut(resp.Header.Get("Content-Range"), "/")
		n, err := strconv.ParseInt(total, 10, 64)
		if err != nil {
			return 0, final{fmt.Errorf("Content-Range %q: %w", resp.Header.Get("Content-Range"), err)}
		}
		return n, nil
	}
	return 0, refusal(resp)
}

// refusal is what an answer means that is not the file.
func refusal(resp *http.Response) error {
	if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
		return errors.New(resp.Status)
	}
	return final{errors.New(resp.Status)}
}

// get asks for the bytes from first on, to last if that is given.
func get(ctx context.Context, url string, first int64, last string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, final{err}
	}
	req.Header.Set("Accept-Encoding", "identity") // the bytes that the hash is of
	if first > 0 || last != "" {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%s", first, last))
	}
	client := http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
	}}
	resp, err := client.Do(req)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	resp.Body.Close()
	if req.Header["Authorization"], err = token(ctx, client, resp); err != nil {
		return nil, err
	}
	return client.Do(req)
}

// stalling ends when nothing resets the timer for stallLimit.
func stalling(ctx context.Context) (context.Context, *time.Timer, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stall := time.AfterFunc(stallLimit, func() { cancel(fmt.Errorf("nothing came for %v", stallLimit)) })
	return ctx, stall, func() { stall.Stop(); cancel(nil) }
}

// cause prefers the reason of a cancelled context to what it broke.
func cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
