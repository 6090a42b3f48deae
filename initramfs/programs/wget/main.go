// Command wget fetches a file over HTTP or HTTPS, in the rescue shell:
//
//	wget [-O FILE] URL
//
// u-root's has more protocols, and a package below it that takes 20 ms of each start of
// vic-init on an emulated processor.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path"
)

func main() {
	out := flag.String("O", "", "the `FILE` to write, - for standard output; by default as the URL's last part")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: wget [-O FILE] URL\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := fetch(ctx, flag.Arg(0), *out, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "wget:", err)
		os.Exit(1)
	}
}

// fetch writes what is at an address to the file out. Of a download that fails,
// nothing stays.
func fetch(ctx context.Context, address, out string, stdout io.Writer) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("get %s: %s", address, resp.Status)
	}
	if out == "-" {
		_, err := io.Copy(stdout, resp.Body)
		return err
	}
	return save(cmp.Or(out, nameOf(u)), resp.Body)
}

// nameOf is what a file is called after its address.
func nameOf(u *url.URL) string {
	if name := path.Base(u.Path); name != "." && name != "/" {
		return name
	}
	return "index.html"
}

// save writes a file that was not there before, or takes the place of one.
func save(name string, from io.Reader) error {
	partial := name + ".part"
	f, err := os.Create(partial)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(partial, name)
	}
	if err != nil {
		_ = os.Remove(partial) // the error that counts is the first
	}
	return err
}
