// Package volume writes and reads the file system of a stage: FAT32, because the
// firmware, GRUB and every kernel read it, with each file in one piece, so that
// GRUB and the journal can do with its place.
//
//	cluster 2   /  EFI/  EFI/BOOT/  vic/
//	            vic/journal         zeros; written in place later (package journal)
//	            vic/registrations   the same (package mirror)
//	            vic/stage.json      the document
//	            the document's files, in its order
//
// It is written as one stream, the payload never in memory, and its boot sector
// last: what a power cut leaves half written is no file system.
package volume

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/victorinix/vic/disk/image/fat"
	"github.com/victorinix/vic/internal/stage"
)

// Source is the content of a file: *os.File is one.
type Source interface {
	io.ReaderAt
	io.Closer
}

// Bytes is a Source of what is in memory.
func Bytes(b []byte) Source { return memory{bytes.NewReader(b)} }

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

// Device is where a stage is written to, from its first byte on; direct.Device
// and disk.File are some.
type Device interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// Config is a stage to be written.
type Config struct {
	Document stage.Document
	// SectorSize is the disk's logical one, in bytes; 0: 512.
	SectorSize int
	// Open opens the content of a file of the document, by its name.
	Open func(name string) (Source, error)
	// Progress is told how many bytes of the files are written; nil: nobody.
	Progress func(done, total int64)
}

// Size is the least size in bytes of the partition for a document's files, as
// far as their sizes are set, on a disk with such logical sectors; it is a multiple
// of 1 MiB.
func Size(d stage.Document, sector int) (int64, error) {
	const unit = 1 << 20
	v, err := fat.New(fat.Config{SectorSize: sector, Files: files(d, make([]byte, documentRoom), nil)})
	if err != nil {
		return 0, fmt.Errorf("measure stage: %w", err)
	}
	return (v.Size() + tail + unit - 1) / unit * unit, nil
}

// documentRoom is what Size allows for the document, which is not settled then.
const documentRoom = 256 << 10

// tail is cleared at the end of the partition: formats that keep their
// signatures there would be found besides the stage.
const tail = 1 << 20

// files are all files of a stage; without open they have only sizes.
func files(d stage.Document, self []byte, open func(stage.File) fat.Source) []fat.File {
	if open == nil {
		open = func(f stage.File) fat.Source { return zeros(f.Size) }
	}
	list := []fat.File{
		{Path: stage.InVolume(stage.Journal), Source: zeros(stage.JournalSize)},
		{Path: stage.InVolume(stage.Registrations), Source: zeros(stage.RegistrationsSize)},
		{Path: stage.InVolume(stage.Self), Source: bytes.NewReader(self)},
	}
	for _, f := range d.Files {
		list = append(list, fat.File{Path: stage.InVolume(f.Name), Source: open(f)})
	}
	return list
}

// zeros is a file of that many zero bytes.
type zeros int64

func (z zeros) Size() int64 { return int64(z) }

func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	n := max(0, min(int64(len(p)), int64(z)-off))
	clear(p[:n])
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// Write writes the stage, with everything on the medium when it returns. Each
// file is compared with its hash as it passes.
func Write(ctx context.Context, w Device, c Config) error {
	if err := write(ctx, w, c); err != nil {
		return fmt.Errorf("write stage: %w", err)
	}
	return nil
}

func write(ctx context.Context, w Device, c Config) error {
	if err := c.Document.Validate(); err != nil {
		return err
	}
	var self bytes.Buffer
	if err := c.Document.Encode(&self); err != nil {
		return err
	}
	s := stream{ctx: ctx, config: c}
	for _, f := range c.Document.Files {
		s.total += f.Size
	}
	v, err := fat.New(fat.Config{
		SectorSize: c.SectorSize, Size: c.Document.Stage.Size,
		Hidden: uint32(min(c.Document.Stage.Offset/cmp.Or(int64(c.SectorSize), 512), 1<<32-1)),
		Label:  strings.ToUpper(stage.Label), VolumeID: c.Document.VolumeID(), Time: c.Document.Created,
		Files: files(c.Document, self.Bytes(), s.open),
	})
	if err != nil {
		return err
	}
	last := &bootLast{Device: w}
	if err := errors.Join(last.begin(c.Document.Stage.Size), w.Sync()); err != nil {
		return err
	}
	if err := errors.Join(v.WriteAt(last, 0), s.close()); err != nil {
		return err
	}
	return last.finish()
}

// bootLast keeps the first sectors back until all others are on the medium.
type bootLast struct {
	Device
	first []byte
}

// begin clears both ends.
func (b *bootLast) begin(size int64) error {
	blank := make([]byte, tail)
	_, err1 := b.Device.WriteAt(blank, 0)
	_, err2 := b.Device.WriteAt(blank, max(0, size-tail))
	return errors.Join(err1, err2)
}

func (b *bootLast) WriteAt(p []byte, off int64) (int, error) {
	if off == 0 {
		b.first = bytes.Clone(p)
		return len(p), nil
	}
	return b.Device.WriteAt(p, off)
}

func (b *bootLast) finish() error {
	if err := b.Sync(); err != nil {
		return err
	}
	if _, err := b.Device.WriteAt(b.first, 0); err != nil {
		return err
	}
	return b.Sync()
}

// stream opens one file after the other.
type stream struct {
	ctx         context.Context
	config      Config
	done, total int64
	current     *content
}

func (s *stream) open(f stage.File) fat.Source { return &content{stream: s, File: f} }

func (s *stream) close() error {
	if s.current == nil {
		return nil
	}
	err := s.current.src.Close()
	s.current = nil
	return err
}

// content is a file that is read once, from its beginning to its end.
type content struct {
	stage.File
	stream *stream
	src    Source
	sum    hash.Hash
	at     int64
}

func (c *content) Size() int64 { return c.File.Size }

func (c *content) ReadAt(p []byte, off int64) (int, error) {
	if err := context.Cause(c.stream.ctx); err != nil {
		return 0, err
	}
	if c.src == nil {
		if err := c.begin(); err != nil {
			return 0, err
		}
	}
	if off != c.at {
		return 0, fmt.Errorf("read %s at %d: it was read up to %d", c.Name, off, c.at)
	}
	want := min(int64(len(p)), c.File.Size-off)
	n, err := c.src.ReadAt(p[:want], off)
	if int64(n) < want {
		return n, fmt.Errorf("read %s: it ends after %d of %d bytes: %w", c.Name, off+int64(n), c.File.Size, errors.Join(err, io.ErrUnexpectedEOF))
	}
	c.sum.Write(p[:n])
	c.at += int64(n)
	c.stream.progress(int64(n))
	if c.at == c.File.Size {
		if got := fmt.Sprintf("%x", c.sum.Sum(nil)); got != c.SHA256 {
			return 0, c.wrong(got)
		}
	}
	return n, nil
}

func (c *content) wrong(got string) error {
	return fmt.Errorf("%s: expected SHA-256 %s, found %s: it was altered or damaged", c.Name, c.SHA256, got)
}

func (c *content) begin() error {
	if err := c.stream.close(); err != nil {
		return err
	}
	src, err := c.stream.config.Open(c.Name)
	if err != nil {
		return fmt.Errorf("open %s: %w", c.Name, err)
	}
	c.src, c.sum, c.stream.current = src, sha256.New(), c
	return nil
}

func (s *stream) progress(n int64) {
	s.done += n
	if s.config.Progress != nil {
		s.config.Progress(s.done, s.total)
	}
}
