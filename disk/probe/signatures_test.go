package probe

import (
	"bytes"
	"slices"
	"testing"
)

// Every signature is found at every place that it can be.
func TestSignatures(t *testing.T) {
	const size = 80 * mib
	data := make([]byte, size)
	check := func(typ string, at int64, magic string) {
		t.Helper()
		if at < 0 || at+int64(len(magic)) > size {
			return // the third superblock of a btrfs is at 256 GiB
		}
		copy(data[at:], magic)
		found, err := Signatures(bytes.NewReader(data), size)
		if err != nil || !slices.Contains(found, Signature{typ, at}) {
			t.Errorf("%s at %d: %v %v", typ, at, found, err)
		}
		clear(data[at:][:len(magic)])
	}
	for _, m := range slices.Concat(traces, marks) {
		check(m.typ, m.place(size), m.magic)
	}
	for _, at := range luksBackups {
		check("crypto_LUKS", at, "SKUL\xba\xbe")
	}
	for _, label := range []int64{0, 256 << 10, size - 512<<10, size - 256<<10} {
		for _, magic := range zfsMagic {
			check("zfs_member", label+128<<10+5<<10, string(magic))
		}
	}
	if found, err := Signatures(bytes.NewReader(data), size); err != nil || found != nil {
		t.Errorf("zeros: %v %v", found, err)
	}
}
