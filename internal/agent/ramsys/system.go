package ramsys

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Where things are in the RAM system.
const (
	runDir       = "/run/vic"
	embedded     = "/system.erofs"    // the system, when the initramfs holds it
	manifestPath = "/vic/system.json" // its size and hash
	systemDir    = runDir + "/system" // where the system erofs is mounted
	overlayDir   = runDir + "/overlay"
	downloadDir  = runDir + "/download" // a ramfs
)

// image is a verified system erofs: a file or a block device.
type image struct {
	path  string
	block bool
}

// findSystem finds the system erofs and verifies all of it: nothing of an
// altered one is ever mounted. An image without a path says that there is none.
// slot is the one in the slot that the machine was started from, if it was.
func findSystem(ctx context.Context, src Source, slot string, progress func(done, total int64)) (image, error) {
	m, err := readManifest(manifestPath)
	if err != nil {
		return image{}, err
	}
	switch {
	case src.URL != "":
		path, err := fetchSystem(ctx, src.URL, src.SHA256, progress)
		return image{path: path}, err
	case src.PartLabel != "":
		device, err := waitPartition(ctx, "/sys", src.PartLabel)
		if err != nil {
			return image{}, err
		}
		if src.SHA256 != "" {
			m.SHA256, m.Chunks = src.SHA256, nil
		}
		return image{path: device, block: true}, verify(ctx, device, m, progress)
	case slot != "":
		return image{path: slot}, verify(ctx, slot, m, progress)
	}
	if _, err := os.Stat(embedded); errors.Is(err, fs.ErrNotExist) {
		return image{}, nil
	}
	return image{path: embedded}, verify(ctx, embedded, m, progress)
}

// verify reads a file, or as much of a device as the image has, and compares
// size and hash.
func verify(ctx context.Context, path string, want manifest, progress func(done, total int64)) error {
	if want.SHA256 == "" || want.Size == 0 {
		return fmt.Errorf("verify %s: %s does not say which size and hash it must have", path, manifestPath)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() && st.Size() != want.Size {
		return fmt.Errorf("verify %s: it has %d bytes, %s says %d", path, st.Size(), manifestPath, want.Size)
	}
	if len(want.Chunks) > 0 {
		return verifyChunks(ctx, f, want, progress)
	}
	return verifyRange(ctx, io.NewSectionReader(f, 0, want.Size), path, want.Size, want.SHA256,
		func(done int64) { progress(done, want.Size) })
}

// verifyChunks hashes chunks on all processors.
func verifyChunks(ctx context.Context, f *os.File, want manifest, progress func(done, total int64)) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	var mu sync.Mutex
	var done int64
	for i, sha := range want.Chunks {
		start := int64(i) * want.ChunkSize
		n := min(want.ChunkSize, want.Size-start)
		what := fmt.Sprintf("%s (bytes %d to %d)", f.Name(), start, start+n-1)
		g.Go(func() error {
			err := verifyRange(ctx, io.NewSectionReader(f, start, n), what, n, sha, func(int64) {})
			mu.Lock()
			defer mu.Unlock()
			done += n
			progress(done, want.Size)
			return err
		})
	}
	return g.Wait()
}

// verifyRange reads r to its end and compares its size and hash.
func verifyRange(ctx context.Context, r io.Reader, what string, size int64, sha string, progress func(done int64)) error {
	sum := sha256.New()
	w := &counter{ctx: ctx, w: sum, progress: func(done, _ int64) { progress(done) }}
	// The struct hides the reader's WriteTo, which would use small buffers.
	n, err := io.CopyBuffer(w, struct{ io.Reader }{r}, make([]byte, 128<<10))
	if err != nil {
		return fmt.Errorf("verify %s: %w", what, err)
	}
	if n != size {
		return fmt.Errorf("verify %s: it has %d bytes, %s says %d", what, n, manifestPath, size)
	}
	return compare(what, sum, sha)
}

func compare(what string, sum hash.Hash, want string) error {
	if got := hex.EncodeToString(sum.Sum(nil)); got != want {
		return fmt.Errorf("verify %s: it is damaged or was altered: its SHA-256 is %s, expected %s", what, got, want)
	}
	return nil
}

// counter passes on what is written, reports how much it was, and stops when
// its context ends.
type counter struct {
	ctx         context.Context
	w           io.Writer
	done, total int64
	progress    func(done, total int64)
}

func (c *counter) Write(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	n, err := c.w.Write(p)
	c.done += int64(n)
	c.progress(c.done, c.total)
	return n, err
}

// partitionPatience is how long a disk may take to appear: USB needs seconds.
const partitionPatience = 30 * time.Second

// waitPartition waits for the GPT partition with a label.
func waitPartition(ctx context.Context, sys, label string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, partitionPatience,
		fmt.Errorf("find partition %s: no disk has it, waited %v", label, partitionPatience))
	defer cancel()
	for {
		found := partitions(sys, label)
		switch {
		case len(found) > 1:
			return "", fmt.Errorf("find partition %s: %s all have this label", label, strings.Join(found, ", "))
		case len(found) == 1:
			return found[0], nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// partitions lists the devices whose PARTNAME is label.
func partitions(sys, label string) []string {
	files, _ := filepath.Glob(filepath.Join(sys, "class/block/*/uevent")) // the pattern is well-formed
	var found []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err == nil && strings.Contains("\n"+string(b), "\nPARTNAME="+label+"\n") {
			found = append(found, "/dev/"+filepath.Base(filepath.Dir(file)))
		}
	}
	return found
}
