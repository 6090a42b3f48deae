package logwrites

import (
	"encoding/binary"
	"testing"
)

// Requests that no kernel makes are refused, or do to the device what they say.
func FuzzAnswer(f *testing.F) {
	for _, op := range []uint32{opInit, opGetattr, opSetattr, opOpen, opRead, opWrite, opFsync, opFlush, opFallocate, opForget, 99} {
		b := binary.NativeEndian.AppendUint32(make([]byte, 4), op)
		f.Add(append(b, make([]byte, inHeaderSize-8+ioInSize+8)...))
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		dev := NewRecorder(blank(1<<20, 512), Faults{})
		reply, ok := answer(dev, request)
		if ok && (len(reply) < outHeaderSize || int(binary.NativeEndian.Uint32(reply)) != len(reply)) {
			t.Fatalf("a reply of %d bytes says %x", len(reply), reply[:4])
		}
		for _, e := range dev.Log().Entries {
			if e.Offset < 0 || e.Length < 0 || e.Offset+e.Length > dev.Size() {
				t.Fatalf("%+v", e)
			}
		}
	})
}
