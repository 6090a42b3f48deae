package disk

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/disk/layout"
)

func TestMinus(t *testing.T) {
	tests := []struct {
		r       Range
		without []Range
		want    []Range
	}{
		{Range{0, 100}, nil, []Range{{0, 100}}},
		{Range{0, 100}, []Range{{0, 100}}, nil},
		{Range{10, 80}, []Range{{0, 20}, {80, 100}}, []Range{{20, 60}}},
		{Range{0, 100}, []Range{{40, 20}, {50, 20}}, []Range{{0, 40}, {70, 30}}},
		{Range{50, 10}, []Range{{0, 10}, {90, 10}}, []Range{{50, 10}}},
		{Range{0, 0}, nil, []Range{}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, minus(tt.r, tt.without)); diff != "" {
			t.Errorf("%v without %v: %s", tt.r, tt.without, diff)
		}
	}
}

// TestWipeKeeps: what is kept has the same bytes afterwards, down to its own
// signatures; the table still leads to it; everything else is gone.
func TestWipeKeeps(t *testing.T) {
	const size = 65536 * 512
	gpt := testTable(t, `{disk: {main: {content: {type: gpt, partitions: {a: {size: 4M}, b: {size: 8M}, c: {size: 100%}}}}}}`, size, 512)
	for name, old := range map[string]layout.Table{"gpt": gpt, "mbr": mbrTable(size, 512)} {
		for i, e := range old.Entries {
			if extended(e) {
				continue
			}
			m := newMemory(size, 512)
			ranges := Ranges(old)
			for j, r := range ranges {
				if !extended(old.Entries[j]) {
					plant(m, r.Offset, r.Size)
				}
			}
			if err := WriteTable(t.Context(), m, old, false); err != nil {
				t.Fatal(err)
			}
			keep := ranges[i]
			before := append([]byte(nil), m.data[keep.Offset:keep.Offset+keep.Size]...)
			if err := Wipe(t.Context(), m, nil, []Range{keep}); err != nil {
				t.Errorf("%s, partition %d: %v", name, e.Number, err)
			}
			if string(before) != string(m.data[keep.Offset:keep.Offset+keep.Size]) {
				t.Errorf("%s: partition %d changed", name, e.Number)
			}
			if got, err := ReadTable(m); err != nil || cmp.Diff(old.Entries, got.Entries) != "" && name == "mbr" || len(got.Entries) != len(old.Entries) {
				t.Errorf("%s: the table went with it: %v", name, err)
			}
			for j, r := range ranges {
				found, err := Signatures(m, r.Offset, r.Size)
				if j != i && !extended(old.Entries[j]) && (err != nil || found != nil) {
					t.Errorf("%s: partition %d still holds %v %v", name, old.Entries[j].Number, found, err)
				}
			}
		}
	}
}

// TestWipeShrunk: the freed end of a partition that is kept in part had the
// superblocks that lie at the end.
func TestWipeShrunk(t *testing.T) {
	const size = 64 << 20
	m := newMemory(size, 512)
	table := testTable(t, `{disk: {main: {content: {type: gpt, partitions: {a: {size: 100%}}}}}}`, size, 512)
	r := Ranges(table)[0]
	plant(m, r.Offset, r.Size)
	if err := WriteGPT(t.Context(), m, table); err != nil {
		t.Fatal(err)
	}
	keep := Range{r.Offset, 32 << 20}
	before := string(m.data[keep.Offset : keep.Offset+keep.Size])
	freed := Range{keep.Offset + keep.Size, r.Size - keep.Size}
	if err := Wipe(t.Context(), m, []Range{freed}, []Range{keep}); err != nil {
		t.Fatal(err)
	}
	if before != string(m.data[keep.Offset:keep.Offset+keep.Size]) {
		t.Error("what is kept changed")
	}
	found, err := Signatures(m, r.Offset, r.Size)
	for _, s := range found {
		if s.Offset >= freed.Offset {
			t.Errorf("the freed end holds %v", s)
		}
	}
	if err != nil {
		t.Error(err)
	}
}
