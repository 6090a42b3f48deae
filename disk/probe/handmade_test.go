package probe

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/internal/tool/tooltest"
)

// made is a disk written by hand from a format's specification, for what no
// program here can make without a kernel that knows it.
type made struct {
	sparseDisk
	want Result
	// asks says whether blkid knows it.
	blkid bool
}

func place(n int) *int { return &n }

// handmade are those disks by name.
func handmade() map[string]*made {
	list := map[string]*made{
		"zfs": {
			sparseDisk{size: 100 * mib, pieces: map[int64][]byte{16 << 10: zfsList("tank", 11, 22), zfsRing: zfsUberblocks(4)}},
			Result{Type: "zfs_member", Usage: UsageFilesystem, UUID: "22", SubUUID: "11", Label: "tank", Version: "5000", Offset: zfsRing, Size: 100 * mib, Group: &Group{Name: "tank"}},
			true,
		},
		"bitlocker": {
			sparseDisk{size: 8 * mib, pieces: map[int64][]byte{0: append([]byte("\xeb\x58\x90-FVE-FS-\x00\x02\x08"), make([]byte, 499)...)}},
			Result{Type: "BitLocker", Usage: UsageCrypto, Offset: 3, SectorSize: 512},
			false,
		},
		"bcachefs": {
			sparseDisk{size: 64 * mib, pieces: map[int64][]byte{4096: bcachefsBlock()}},
			Result{
				Type: "bcachefs", Usage: UsageFilesystem, Offset: 4096 + 24, UUID: "02020202-0202-0202-0202-020202020202", SubUUID: "03030303-0303-0303-0303-030303030303",
				Label: "pool", Version: "1025", BlockSize: 4096, Size: 128 * 512 << 10, Group: &Group{Devices: 2},
			},
			false,
		},
		"md-0.90": {
			sparseDisk{size: 64*mib + 4096, pieces: map[int64][]byte{64*mib - 65536: md090()}},
			Result{
				Type: "linux_raid_member", Usage: UsageRAID, UUID: "00112233-4455-6677-8899-aabbccddeeff", Version: "0.90.0", Offset: 64*mib - 65536,
				Size: 64*mib - 65536 + 4096, Clean: known(true), Group: &Group{Level: "raid5", Devices: 3, Role: place(1)},
			},
			true,
		},
	}
	for version, at := range map[string]int64{"1.0": 64*mib - 8192, "1.1": 0, "1.2": 4096} {
		list["md-"+version] = &made{
			sparseDisk{size: 64*mib + 2048, pieces: map[int64][]byte{at: md1(at)}},
			Result{
				Type: "linux_raid_member", Usage: UsageRAID, UUID: "00112233-4455-6677-8899-aabbccddeeff", SubUUID: "ffeeddcc-bbaa-9988-7766-554433221100",
				Label: "box:boot", Version: version, Offset: at, Size: 48 * mib, DataOffset: 1 * mib, Clean: known(true),
				Group: &Group{Name: "box:boot", Level: "raid1", Devices: 2, Role: place(1)},
			},
			true,
		}
	}
	list["md-1.0"].want.Size = 64*mib - 8192 + 4096
	return list
}

// zfsList is the list of a label: the version of the encoding, then pairs.
func zfsList(name string, guid, pool uint64) []byte {
	be := binary.BigEndian
	list := []byte{1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}
	pair := func(key string, typ uint32, value []byte) {
		padded := append([]byte(key), make([]byte, (4-len(key)%4)%4)...)
		size := uint32(12 + len(padded) + 8 + len(value))
		list = be.AppendUint32(list, size)
		list = be.AppendUint32(list, size) // decoded; not used
		list = be.AppendUint32(list, uint32(len(key)))
		list = append(list, padded...)
		list = be.AppendUint32(list, typ)
		list = be.AppendUint32(list, 1)
		list = append(list, value...)
	}
	pair("version", 8, be.AppendUint64(nil, 5000))
	text := append(be.AppendUint32(nil, uint32(len(name))), name...)
	pair("name", 9, append(text, make([]byte, (4-len(name)%4)%4)...))
	pair("pool_guid", 8, be.AppendUint64(nil, pool))
	pair("guid", 8, be.AppendUint64(nil, guid))
	return append(list, make([]byte, 8)...)
}

func zfsUberblocks(n int) []byte {
	b := make([]byte, n*1024)
	for i := range n {
		binary.LittleEndian.PutUint64(b[i*1024:], 0x00bab10c)
		binary.LittleEndian.PutUint64(b[i*1024+8:], 5000)
	}
	return b
}

func bcachefsBlock() []byte {
	b := make([]byte, 752+8+2*56)
	le := binary.LittleEndian
	le.PutUint16(b[16:], 1025)
	copy(b[24:], bcachefsMagic)
	copy(b[56:], bytes.Repeat([]byte{2}, 16))
	copy(b[72:], "pool")
	le.PutUint64(b[104:], 8)
	le.PutUint16(b[120:], 8)
	b[122], b[123] = 1, 2
	le.PutUint32(b[124:], uint32((len(b)-752)/8))
	field := b[752:]
	le.PutUint32(field, uint32(len(field)/8))
	le.PutUint32(field[4:], 1)
	member := field[8+56:]
	copy(member, bytes.Repeat([]byte{3}, 16))
	le.PutUint64(member[16:], 128)
	le.PutUint16(member[26:], 1024)
	return b
}

func md090() []byte {
	b := make([]byte, 4096)
	word := func(i int, v uint32) { binary.LittleEndian.PutUint32(b[4*i:], v) }
	word(0, mdMagic)
	word(2, 90)
	word(4, 992)
	word(5, 0x00112233)
	word(13, 0x44556677)
	word(14, 0x8899aabb)
	word(15, 0xccddeeff)
	word(7, 5)
	word(8, 65472)
	word(9, 3)
	word(10, 3)
	word(33, 1)  // clean
	word(992, 1) // this disk
	word(995, 1) // its place
	word(996, 6) // active, in sync
	sum := uint64(0)
	for i := range 1024 {
		sum += uint64(binary.LittleEndian.Uint32(b[4*i:]))
	}
	word(38, uint32(sum)+uint32(sum>>32))
	return b
}

func md1(at int64) []byte {
	b := make([]byte, 512)
	le := binary.LittleEndian
	le.PutUint32(b, mdMagic)
	le.PutUint32(b[4:], 1)
	for i := range 16 {
		b[16+i], b[168+i] = byte(i*0x11), byte(0xff-i*0x11)
	}
	copy(b[32:], "box:boot")
	le.PutUint32(b[72:], 1)
	le.PutUint64(b[80:], 47*mib/512)
	le.PutUint32(b[92:], 2)
	le.PutUint64(b[128:], mib/512)
	le.PutUint64(b[136:], 47*mib/512)
	le.PutUint64(b[144:], uint64(at/512))
	le.PutUint32(b[160:], 1)
	le.PutUint64(b[208:], 1<<64-1)
	le.PutUint32(b[220:], 128)
	le.PutUint16(b[258:], 1)
	sum := uint64(0)
	for i := 0; i < 512; i += 4 {
		sum += uint64(le.Uint32(b[i:]))
	}
	le.PutUint32(b[216:], uint32(sum)+uint32(sum>>32))
	return b
}

// write makes a file of it.
func (m *made) write(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "img")
	sparse(t, path, m.size)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for at, b := range m.pieces {
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestHandmade(t *testing.T) {
	for name, m := range handmade() {
		t.Run(name, func(t *testing.T) {
			found, err := Probe(&m.sparseDisk, m.size)
			if diff := cmp.Diff([]Result{m.want}, found); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
			if !m.blkid {
				return
			}
			want := asBlkid(m.want)
			delete(want, "USAGE") // blkid changed its mind about ZFS
			got := blkid(t, m.write(t))
			delete(got, "USAGE")
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("- blkid, + vic:\n%s", diff)
			}
		})
	}
}

// mdadm has to read what was written by hand as it was meant, checksum
// included.
func TestHandmadeRAIDIsRead(t *testing.T) {
	tooltest.Need(t, "mdadm")
	for _, name := range []string{"md-0.90", "md-1.0", "md-1.1", "md-1.2"} {
		m := handmade()[name]
		out := run(t, "", "mdadm", "--examine", m.write(t))
		for _, want := range []string{fmt.Sprintf("Raid Level : %s\n", m.want.Group.Level), fmt.Sprintf("Raid Devices : %d\n", m.want.Group.Devices), "- correct\n", "State : clean\n"} {
			if !bytes.Contains([]byte(out), []byte(want)) {
				t.Errorf("%s: no %q in\n%s", name, want, out)
			}
		}
	}
}
