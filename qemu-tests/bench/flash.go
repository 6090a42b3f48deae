package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/tool"
)

const (
	// flashData is how much of the images is not zeroes, flashSparse how large the
	// one with holes is.
	flashData   = 1 << 30
	flashSparse = 4 << 30
	cardSize    = flashSparse + 64<<20
)

// flashNote says what the figures mean.
const flashNote = "Onto an empty loop device with direct I/O, in turns with `dd bs=4M oflag=direct\n" +
	"conv=fsync` of the same image out of the page cache. Writing is from the first block\n" +
	"until all is flushed; before it the device is probed and erased, which takes the\n" +
	"same time for any image. A card is ten to fifty times slower than this device."

// flashes times vic flash and dd.
func (s Suite) flashes(ctx context.Context) (rows []Row, err error) {
	if os.Getuid() != 0 {
		return nil, errors.New("loop devices need root")
	}
	dense, sparse, card := filepath.Join(s.Dir, "dense.img"), filepath.Join(s.Dir, "sparse.img"), filepath.Join(s.Dir, "card.img")
	defer func() {
		for _, f := range []string{dense, sparse, card} {
			err = errors.Join(err, os.RemoveAll(f))
		}
	}()
	if err := errors.Join(randomImage(dense, flashData), randomImage(sparse, flashSparse),
		os.WriteFile(card, nil, 0o600), os.Truncate(card, cardSize)); err != nil {
		return nil, err
	}
	dev, detach, err := attach(ctx, card)
	if err != nil {
		return nil, err
	}
	defer detach()
	if _, err := (tool.Exec{}).Run(ctx, tool.Cmd{Name: "losetup", Args: []string{"--direct-io=on", dev}}); err != nil {
		return nil, err
	}
	whole, err := s.flashTurns(ctx, dense, card, dev, flashData)
	if err != nil {
		return nil, err
	}
	holes, err := s.flashTurns(ctx, sparse, card, dev, flashSparse)
	if err != nil {
		return nil, err
	}
	const share = float64(flashData) / flashSparse
	return []Row{
		{"`vic flash`, writing, to `dd`", whole.write / whole.dd, 1.05, "x", fmt.Sprintf("1 GiB: %.2f s to %.2f s, medians of %d in turns", whole.write, whole.dd, s.Rounds)},
		{"the same, three quarters of it holes", holes.write / holes.dd, share * 1.05, "x", fmt.Sprintf("4 GiB: %.2f s to %.2f s", holes.write, holes.dd)},
		{"reading back and comparing, to a plain read", whole.compare / whole.read, 1.1, "x", fmt.Sprintf("%.2f s to %.2f s, `dd bs=4M iflag=direct`", whole.compare, whole.read)},
		{"erasing the old ends and signatures, before it", whole.before, 0, "s", "the phase partition"},
	}, nil
}

// randomImage makes an image whose first flashData bytes are data.
func randomImage(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.Reader, flashData)
	return errors.Join(err, f.Truncate(size), f.Sync(), f.Close())
}

// flashTimes are medians, in seconds.
type flashTimes struct{ write, compare, before, dd, read float64 }

func (s Suite) flashTurns(ctx context.Context, image, card, dev string, size int64) (flashTimes, error) {
	var write, compare, before, dd, read []float64
	for range s.Rounds {
		if err := newCard(card, dev); err != nil {
			return flashTimes{}, err
		}
		r, err := s.Vic.run(ctx, "flash", image, dev, "--yes", "--yes-i-mean", dev, "--json")
		if err != nil {
			return flashTimes{}, err
		}
		writing, err := r.Step("copy " + dev + ": write")
		if err != nil {
			return flashTimes{}, err
		}
		comparing, err := r.Step("copy " + dev + ": read back")
		if err != nil {
			return flashTimes{}, err
		}
		reading, err := timeDD(ctx, "if="+dev, "of=/dev/null", "iflag=direct", fmt.Sprintf("count=%d", size>>22))
		if err != nil {
			return flashTimes{}, err
		}
		if err := newCard(card, dev); err != nil {
			return flashTimes{}, err
		}
		copying, err := timeDD(ctx, "if="+image, "of="+dev, "oflag=direct", "conv=fsync")
		if err != nil {
			return flashTimes{}, err
		}
		write, compare, dd, read = append(write, writing.Seconds()), append(compare, comparing.Seconds()), append(dd, copying), append(read, reading)
		erasing, err := r.Step("partition " + dev + ": erase")
		if err != nil {
			return flashTimes{}, err
		}
		before = append(before, erasing.Seconds())
	}
	return flashTimes{Median(write), Median(compare), Median(before), Median(dd), Median(read)}, nil
}

// newCard empties the file of the device: to give its space back takes time that
// no card needs.
func newCard(file, dev string) error {
	err := errors.Join(os.Truncate(file, 0), os.Truncate(file, cardSize), flushBuffers(dev))
	unix.Sync()
	return err
}

func timeDD(ctx context.Context, args ...string) (float64, error) {
	begun := time.Now()
	_, err := tool.Exec{}.Run(ctx, tool.Cmd{Name: "dd", Args: append([]string{"bs=4M"}, args...)})
	return time.Since(begun).Seconds(), err
}
