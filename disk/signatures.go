package disk

import (
	"fmt"
	"io"

	"github.com/victorinix/vic/disk/probe"
)

// Signatures lists what the bytes of a range say that it is, by their places on
// the device. An empty range of a disk that was wiped has none.
func Signatures(d Device, off, size int64) ([]probe.Signature, error) {
	if off < 0 || size < 0 || off+size > d.Size() {
		return nil, fmt.Errorf("look for signatures: bytes %d to %d are not on the device", off, off+size)
	}
	list, err := probe.Signatures(io.NewSectionReader(d, off, size), size)
	for i := range list {
		list[i].Offset += off
	}
	return list, err
}
