package layout

import "testing"

func FuzzParse(f *testing.F) {
	f.Add([]byte(standard))
	f.Add([]byte(`{"disk":{"a":{"content":{"type":"gpt","partitions":{"r":{"start":"-9223372036854775807","end":"+9223372036854775807s","content":{"type":"filesystem","format":"ext4","mountpoint":"/"}}}}}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Parse("f", data)
		if err != nil {
			return
		}
		g := map[string]Geometry{}
		for name := range l.Disk {
			g[name] = Geometry{Size: 1 << 30, SectorSize: 512}
		}
		tables, err := Resolve(l, g, seed)
		if err != nil {
			return
		}
		for _, table := range tables {
			for i, e := range table.Entries {
				if e.FirstLBA < 1 || e.FirstLBA > e.LastLBA || e.LastLBA > 1<<21-1 {
					t.Errorf("entry %+v is outside", e)
				}
				for _, o := range table.Entries[:i] {
					if e.FirstLBA <= o.LastLBA && o.FirstLBA <= e.LastLBA {
						t.Errorf("%+v overlaps %+v", e, o)
					}
				}
			}
		}
	})
}
