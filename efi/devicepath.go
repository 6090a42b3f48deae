package efi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// DevicePath is a list of nodes without the one that ends it (UEFI 2.10 §10).
type DevicePath []Node

// Node is one node of a device path, with the bytes after its 4-byte header.
type Node struct {
	Type, SubType uint8
	Data          []byte
}

// The nodes that vic writes: UEFI 2.10 §10.3.5.1, §10.3.5.4 and §10.3.1.
const (
	typeMedia      = 0x04
	subHardDrive   = 0x01
	subFile        = 0x04
	typeEnd        = 0x7f
	subEndEntire   = 0xff
	nodeHeader     = 4
	hardDriveSize  = 38
	formatGPT      = 2
	signatureGUID  = 2
	maxNodePayload = 0xffff - nodeHeader
)

// HardDrive is a node that names a partition of a GPT disk.
type HardDrive struct {
	Number    uint32 // from 1
	Start     uint64 // in logical blocks of the disk
	Size      uint64 // in logical blocks of the disk
	Partition GUID
}

// Node encodes h.
func (h HardDrive) Node() Node {
	b := make([]byte, hardDriveSize)
	le := binary.LittleEndian
	le.PutUint32(b[0:], h.Number)
	le.PutUint64(b[4:], h.Start)
	le.PutUint64(b[12:], h.Size)
	copy(b[20:], h.Partition[:])
	b[36], b[37] = formatGPT, signatureGUID
	return Node{typeMedia, subHardDrive, b}
}

// HardDrive decodes a node that names a GPT partition; ok is false for others.
func (n Node) HardDrive() (h HardDrive, ok bool) {
	b := n.Data
	if n.Type != typeMedia || n.SubType != subHardDrive || len(b) != hardDriveSize || b[36] != formatGPT || b[37] != signatureGUID {
		return h, false
	}
	le := binary.LittleEndian
	h = HardDrive{Number: le.Uint32(b), Start: le.Uint64(b[4:]), Size: le.Uint64(b[12:])}
	copy(h.Partition[:], b[20:36])
	return h, true
}

// FileNode makes the node for a path such as \EFI\BOOT\BOOTX64.EFI.
func FileNode(path string) (Node, error) {
	b, err := encodeUTF16(path)
	if err != nil {
		return Node{}, fmt.Errorf("encode file path %q: %w", path, err)
	}
	if len(b) > maxNodePayload {
		return Node{}, fmt.Errorf("encode file path of %d characters: too long for a device path", len(path))
	}
	return Node{typeMedia, subFile, b}, nil
}

// File decodes a file path node; ok is false for others.
func (n Node) File() (path string, ok bool) {
	if n.Type != typeMedia || n.SubType != subFile {
		return "", false
	}
	s, _, err := decodeUTF16(n.Data)
	return s, err == nil
}

// Encode returns the path with its end node.
func (p DevicePath) Encode() ([]byte, error) {
	var out []byte
	for _, n := range p {
		if len(n.Data) > maxNodePayload {
			return nil, fmt.Errorf("encode device path node of %d bytes: too long", len(n.Data))
		}
		out = append(out, n.Type, n.SubType)
		out = binary.LittleEndian.AppendUint16(out, uint16(nodeHeader+len(n.Data)))
		out = append(out, n.Data...)
	}
	return append(out, typeEnd, subEndEntire, nodeHeader, 0), nil
}

// ParseDevicePath reads nodes up to the one that ends the entire path, and
// returns what follows it.
func ParseDevicePath(b []byte) (p DevicePath, rest []byte, err error) {
	for {
		if len(b) < nodeHeader {
			return nil, nil, errors.New("parse device path: it has no end node")
		}
		n := int(binary.LittleEndian.Uint16(b[2:]))
		if n < nodeHeader || n > len(b) {
			return nil, nil, fmt.Errorf("parse device path: node %d claims %d of %d bytes", len(p), n, len(b))
		}
		node := Node{b[0], b[1], b[nodeHeader:n]}
		b = b[n:]
		if node.Type == typeEnd && node.SubType == subEndEntire {
			return p, b, nil
		}
		p = append(p, node)
	}
}

// String is close to the text form of UEFI 2.10 §10.6.
func (p DevicePath) String() string {
	var parts []string
	for _, n := range p {
		if h, ok := n.HardDrive(); ok {
			parts = append(parts, fmt.Sprintf("HD(%d,GPT,%s,0x%x,0x%x)", h.Number, h.Partition, h.Start, h.Size))
		} else if f, ok := n.File(); ok {
			parts = append(parts, f)
		} else {
			parts = append(parts, fmt.Sprintf("Path(%d,%d,%x)", n.Type, n.SubType, n.Data))
		}
	}
	return strings.Join(parts, "/")
}

// encodeUTF16 returns s in UTF-16LE with a terminating NUL.
func encodeUTF16(s string) ([]byte, error) {
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return nil, errors.New("text is not UTF-8 without NUL")
	}
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return append(b, 0, 0), nil
}

// decodeUTF16 reads UTF-16LE up to its NUL and returns what follows.
func decodeUTF16(b []byte) (string, []byte, error) {
	var units []uint16
	for ; len(b) >= 2; b = b[2:] {
		u := binary.LittleEndian.Uint16(b)
		if u == 0 {
			return string(utf16.Decode(units)), b[2:], nil
		}
		units = append(units, u)
	}
	return "", nil, errors.New("UTF-16 text has no end")
}
