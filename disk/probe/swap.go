package probe

import (
	"encoding/binary"
	"slices"
)

// hibernated are the magics that suspending to disk puts in the place of a swap
// area's own, which it saves.
var hibernated = []string{"S1SUSPEND", "S2SUSPEND", "ULSUSPEND", "LINHIB0001", "\xed\xc3\x02\xe9\x98\x56\xe5\x0c"}

// swap looks for its magic at the end of the first page, which is as large as
// that of the machine that made it (Linux include/linux/swap.h).
func swap(s *source) *Result {
	for page := int64(4 << 10); page <= 64<<10; page *= 2 {
		magic := s.read(page-10, 10)
		r := &Result{Type: "swap", Usage: UsageOther, Version: "1", Offset: page - 10, BlockSize: page}
		switch {
		case magic.has(0, "SWAPSPACE2"):
		case magic.has(0, "SWAP-SPACE"):
			r.Version = "0"
			return r
		case slices.ContainsFunc(hibernated, func(h string) bool { return magic.has(0, h) }):
			r.Type = "swsuspend"
		default:
			continue
		}
		if b := s.read(1024, 44); b != nil {
			swapHeader(b, page, r)
		}
		return r
	}
	return nil
}

func swapHeader(b bytesOf, page int64, r *Result) {
	var order binary.ByteOrder = binary.LittleEndian
	if b.be32(0) == 1 {
		order = binary.BigEndian
	}
	if order.Uint32(b) != 1 {
		return
	}
	r.UUID, r.Label = b.uuid(12), b.text(28, 16)
	r.Size = (int64(order.Uint32(b[4:])) + 1) * page
	r.MinSize = min(r.Size, 10*page) // mkswap makes none that is smaller
	if r.Type == "swsuspend" {
		r.MinSize = r.Size // it holds a machine's memory
	}
}
