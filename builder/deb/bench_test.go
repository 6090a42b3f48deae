package deb

import (
	"strings"
	"testing"
)

// BenchmarkIndex reads an index of the size of Debian's: 68000 packages of
// 800 bytes.
func BenchmarkIndex(b *testing.B) {
	text := []byte(strings.Repeat("Package: libsomething-dev\nSource: something (1.2-3)\nVersion: 1.2-3+b1\nInstalled-Size: 54427\n"+
		"Maintainer: Debian Somethings <pkg-something@lists.example.org>\nArchitecture: amd64\nDepends: libc6 (>= 2.39), "+
		strings.Repeat("libother-dev (>= 1.2.3), ", 12)+"zlib1g\nProvides: libsomething-0-dev (= 1.2-3)\nDescription: something\nHomepage: https://example.org/something\n"+
		"Tag: role::library,\n devel::library\nSection: libdevel\nPriority: optional\nFilename: pool/main/s/something/libsomething-dev_1.2-3+b1_amd64.deb\n"+
		"Size: 15478892\nMD5sum: def4e9fbaca705a3ef4e16904cdd6dc5\nSHA256: 704dae7df79a35ed1bd3a0a8d5d1b9ce7a4ecdef74ddff72114d9523d63710eb\n\n", 68000))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		x := newIndex("amd64")
		if err := x.add(text); err != nil {
			b.Fatal(err)
		}
	}
}
