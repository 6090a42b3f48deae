package initramfs

import (
	"fmt"
	"io"
	"path"

	"github.com/victorinix/vic/internal/lazyregexp"
)

// unpacked replaces compressed modules by what they unpack to, and names them
// so in modules.dep. The archive is compressed as a whole: xz within it saves
// little, and before the first module works the kernel would have to unpack it
// by its slowest decompressor (CONFIG_MODULE_DECOMPRESS).
func unpacked(files []File) ([]File, error) {
	out := make([]File, 0, len(files))
	for _, f := range files {
		g, err := f.unpacked()
		if err != nil {
			return nil, fmt.Errorf("unpack %s: %w", f.Path, err)
		}
		out = append(out, g)
	}
	return out, nil
}

func (f File) unpacked() (File, error) {
	index := f.Origin == OriginIndex && path.Base(f.Path) == fileDep
	if f.Origin != OriginModule && !index || f.Data == nil { // a link has no data
		return f, nil
	}
	b, err := io.ReadAll(io.NewSectionReader(f.Data, 0, f.Size))
	if err != nil {
		return File{}, err
	}
	if index {
		b = compressedModule.ReplaceAll(b, []byte("$1"))
	} else if b, err = unpackModule(b); err != nil {
		return File{}, err
	}
	g := Regular(compressedModule.ReplaceAllString(f.Path, "$1"), f.Mode, b)
	g.Origin = f.Origin
	return g, nil
}

// compressedModule is the end of a module's name.
var compressedModule = lazyregexp.New(`(\.ko)\.(?:xz|zst|gz)\b`)
