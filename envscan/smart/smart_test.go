package smart

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// fake is a disk that answers commands by its table, and notes them.
type fake struct {
	answers map[string]answer // by name, see ataCommands
	log     []string
}

type answer struct {
	data  []byte
	sense []byte
	err   error
}

func (f *fake) scsi(cdb, in []byte) ([]byte, error) {
	name := fmt.Sprintf("scsi %02x", cdb[0])
	switch cdb[0] {
	case 0x85:
		name = fmt.Sprintf("ata %02x", cdb[14])
		switch cdb[14] {
		case ataSMART:
			name += fmt.Sprintf(" %02x", cdb[4])
		case ataReadLogExt:
			name += fmt.Sprintf(" %d", cdb[10])
		}
	case 0x4d:
		name = fmt.Sprintf("page %02x", cdb[2]&0x3f)
	}
	f.log = append(f.log, name)
	a, ok := f.answers[name]
	if !ok {
		return illegal, nil
	}
	copy(in, a.data)
	return a.sense, a.err
}

func (f *fake) admin(opcode uint8, namespace, cdw10 uint32, in []byte) error {
	f.log = append(f.log, fmt.Sprintf("nvme %02x %08x %08x", opcode, namespace, cdw10))
	a := f.answers["nvme"]
	copy(in, a.data)
	return a.err
}

// illegal is sense data of ILLEGAL REQUEST, invalid command.
var illegal = []byte{0x70, 0, 0x05, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0}

// left is sense data with the registers that a command left: count and LBA.
func left(count uint8, lba uint32, status uint8) []byte {
	return []byte{0x72, 1, 0, 0x1d, 0, 0, 0, 14, 0x09, 12, 0, 0, 0, count, 0, byte(lba), 0, byte(lba >> 8), 0, byte(lba >> 16), 0x40, status}
}

// identity is a page of IDENTIFY DEVICE: with SMART and logs, 7200 turns a minute.
func identity(change func(words []uint16)) []byte {
	words := make([]uint16, 256)
	words[82], words[83], words[84], words[85], words[87] = 1, 1<<14, 1<<14|1<<5, 1, 1<<14
	words[217] = 7200
	if change != nil {
		change(words)
	}
	b := make([]byte, 512)
	for i, w := range words {
		binary.LittleEndian.PutUint16(b[2*i:], w)
	}
	copy(b[46:], "1.0 BETA"[0:8]) // swapped in pairs below
	for i := 46; i < 54; i += 2 {
		b[i], b[i+1] = b[i+1], b[i]
	}
	return b
}

// attribute: id, flags, current, worst, threshold, raw.
type attribute struct {
	id, flags, current, worst, threshold uint8
	raw                                  uint64
}

func attributePages(list ...attribute) (data, thresholds []byte) {
	data, thresholds = make([]byte, 512), make([]byte, 512)
	for i, a := range list {
		d, t := data[2+12*i:], thresholds[2+12*i:]
		d[0], d[1], d[3], d[4] = a.id, a.flags, a.current, a.worst
		var raw [8]byte
		binary.LittleEndian.PutUint64(raw[:], a.raw)
		copy(d[5:11], raw[:6])
		t[0], t[1] = a.id, a.threshold
	}
	return data, thresholds
}

func ataDisk(id []byte, exceeded bool, attrs ...attribute) *fake {
	lba := uint32(smartSignature)
	if exceeded {
		lba = smartExceeded
	}
	data, thresholds := attributePages(attrs...)
	return &fake{answers: map[string]answer{
		"ata e5": {sense: left(0xff, 0, 0x50)}, "ata ec": {data: id}, "ata b0 da": {sense: left(0, lba, 0x50)},
		"ata b0 d0": {data: data}, "ata b0 d1": {data: thresholds},
	}}
}

// Values of attributes that say nothing bad.
var good = attribute{id: 1, flags: 1, current: 100, worst: 100, threshold: 16}

func TestATAVerdict(t *testing.T) {
	ssd := identity(func(w []uint16) { w[217] = 1 })
	for name, test := range map[string]struct {
		disk    *fake
		verdict string
		reasons []string
	}{
		"well":            {ataDisk(identity(nil), false, good), OK, nil},
		"nothing counted": {ataDisk(identity(nil), false), OK, nil},
		"says so":         {ataDisk(identity(nil), true, good), Failing, []string{"it says that it is about to fail"}},
		"below threshold": {ataDisk(identity(nil), false, attribute{5, 3, 20, 20, 36, 0}), Failing, []string{"attribute 5 (reallocated sectors): 20, its threshold is 36"}},
		"at threshold":    {ataDisk(identity(nil), false, attribute{10, 1, 97, 97, 97, 0}), Failing, []string{"attribute 10 (spin retries): 97, its threshold is 97"}},
		"age":             {ataDisk(identity(nil), false, attribute{202, 2, 1, 1, 5, 0}), Warning, []string{"attribute 202 (see its maker): 1, worn out at 5"}},
		"once":            {ataDisk(identity(nil), false, attribute{3, 1, 90, 10, 21, 0}), Warning, []string{"attribute 3 (spin-up time): it was 10 once, its threshold is 21"}},
		"no threshold":    {ataDisk(identity(nil), false, attribute{3, 1, 1, 1, 0, 0}), OK, nil},
		"no value":        {ataDisk(identity(nil), false, attribute{3, 1, 0, 0, 21, 0}, attribute{7, 1, 255, 0, 21, 0}), OK, nil},
		"reallocated":     {ataDisk(identity(nil), false, attribute{5, 3, 100, 100, 36, 0x0099_0000_0007}), Warning, []string{"reallocated sectors: 7"}},
		"reallocated SSD": {ataDisk(ssd, false, attribute{5, 3, 100, 100, 36, 7}), OK, nil},
		"pending":         {ataDisk(identity(nil), false, attribute{197, 2, 100, 100, 0, 3}, attribute{187, 2, 100, 100, 0, 12}), Warning, []string{"pending sectors: 3", "media errors: 12"}},
	} {
		r, err := ataReport(test.disk)
		if err != nil || r.Verdict != test.verdict || !slices.Equal(r.Reasons, test.reasons) {
			t.Errorf("%s: %s %q %v, want %s %q", name, r.Verdict, r.Reasons, err, test.verdict, test.reasons)
		}
	}
}

func TestATACounters(t *testing.T) {
	disk := ataDisk(identity(func(w []uint16) { w[106], w[117] = 0x5000, 2048 }), false, // sectors of 4096 bytes
		attribute{9, 0, 1, 1, 0, 0xabcdef_001234}, attribute{12, 0, 1, 1, 0, 55}, attribute{194, 0, 1, 1, 0, 0x0030_0010_00fb}, attribute{197, 0, 1, 1, 0, 0})
	r, err := ataReport(disk)
	if err != nil {
		t.Fatal(err)
	}
	n := func(v int64) *int64 { return &v }
	if want := (Counters{Temperature: n(-5), PowerOnHours: n(0x1234), PowerCycles: n(55), Pending: n(0)}); !reflect.DeepEqual(r.Counters, want) {
		t.Errorf("got %v, want %v", show(r.Counters), show(want))
	}
	page := func(number uint8, stats map[int]uint64) answer {
		b := make([]byte, 512)
		b[2] = number
		for at, v := range stats {
			binary.LittleEndian.PutUint64(b[at:], v)
		}
		return answer{data: b}
	}
	const valid, supported = 0xc0 << 56, 0x80 << 56
	list := page(0, nil)
	copy(list.data[8:], []byte{5, 0, 1, 3, 5, 7})
	disk.answers["ata 2f 0"] = list
	disk.answers["ata 2f 1"] = page(1, map[int]uint64{8: valid | 60, 16: valid | 5000, 24: valid | 1000, 40: supported | 7})
	disk.answers["ata 2f 3"] = page(3, map[int]uint64{32: valid | 4, 64: valid | 9})
	disk.answers["ata 2f 5"] = page(5, map[int]uint64{8: valid | 0xf0})
	disk.answers["ata 2f 7"] = page(7, map[int]uint64{8: valid | 101})
	if r, err = ataReport(disk); err != nil {
		t.Fatal(err)
	}
	want := Counters{Temperature: n(-16), PowerOnHours: n(5000), PowerCycles: n(60), Used: n(101), Written: n(4096000), Reallocated: n(4), Pending: n(0), UnsafeCutOffs: n(9)}
	if !reflect.DeepEqual(r.Counters, want) {
		t.Errorf("got %v, want %v", show(r.Counters), show(want))
	}
	if want := []string{"reallocated sectors: 4", "worn: 101 % of the life that it was made for"}; !slices.Equal(r.Reasons, want) {
		t.Errorf("reasons %q", r.Reasons)
	}
}

// show makes counters readable.
func show(c Counters) string {
	var list []string
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		if f := v.Field(i); !f.IsNil() {
			list = append(list, fmt.Sprintf("%s %d", v.Type().Field(i).Name, f.Elem().Int()))
		}
	}
	return strings.Join(list, ", ")
}

func TestATAWithout(t *testing.T) {
	broken := errors.New("cable")
	off := ataDisk(identity(func(w []uint16) { w[85] = 0 }), false)
	old := ataDisk(identity(func(w []uint16) { w[83] = 0 }), false)
	bridge := ataDisk(identity(nil), false)
	delete(bridge.answers, "ata b0 d1")
	bridge.answers["ata b0 da"] = answer{sense: left(0, 0, 0x50)}
	mute := ataDisk(identity(nil), false)
	mute.answers["ata b0 da"] = answer{}
	torn := ataDisk(identity(nil), false)
	torn.answers["ata b0 d0"] = answer{err: broken}
	for name, test := range map[string]struct {
		disk *fake
		want error
	}{
		"no ATA": {&fake{}, ErrUnsupported}, "switched off": {off, ErrUnsupported}, "invalid words": {old, ErrUnsupported},
		"no registers": {mute, ErrUnsupported}, "registers of zeros": {bridge, ErrUnsupported}, "error": {torn, broken},
	} {
		if r, err := ataReport(test.disk); !errors.Is(err, test.want) {
			t.Errorf("%s: %+v %v", name, r, err)
		}
	}
}

func TestAsleep(t *testing.T) {
	power := func(count uint8) *fake {
		return &fake{answers: map[string]answer{"ata e5": {sense: left(count, 0, 0x50)}}}
	}
	sense := func(asc, ascq byte) *fake {
		b := make([]byte, 18)
		b[0], b[12], b[13] = 0x70, asc, ascq
		return &fake{answers: map[string]answer{"scsi 03": {data: b}}}
	}
	fixed := []byte{0x70, 0, 1, 0, 0x50, 0x40, 0x00, 10, 0, 0, 0, 0, 0x00, 0x1d, 0, 0, 0, 0}
	for name, test := range map[string]struct {
		protocol Protocol
		disk     *fake
		want     bool
	}{
		"ata active": {ATA, power(0xff), false}, "ata idle": {ATA, power(0x82), false},
		"ata standby": {ATA, power(0), true}, "ata standby y": {ATA, power(1), true},
		"ata standby, fixed sense": {ATA, &fake{answers: map[string]answer{"ata e5": {sense: fixed}}}, true},
		"scsi active":              {SCSI, sense(0, 0), false}, "scsi idle": {SCSI, sense(0x5e, 1), false}, "scsi standby": {SCSI, sense(0x5e, 2), true},
		"nvme": {NVMe, &fake{}, false},
	} {
		d := Disk{dev: test.disk, protocol: test.protocol}
		if got, err := d.Asleep(); err != nil || got != test.want {
			t.Errorf("%s: %v %v", name, got, err)
		}
		if len(test.disk.log) > 1 {
			t.Errorf("%s: asked %v", name, test.disk.log)
		}
	}
	if _, err := (&Disk{dev: &fake{}, protocol: ATA}).Asleep(); !errors.Is(err, ErrUnsupported) {
		t.Errorf("a disk that does not say: %v", err)
	}
}

func healthLog(change func(b []byte)) []byte {
	b := make([]byte, 512)
	binary.LittleEndian.PutUint16(b[1:], 310)
	b[3], b[4] = 100, 10
	if change != nil {
		change(b)
	}
	return b
}

func TestNVMe(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(b []byte)
		verdict string
		reasons []string
	}{
		"well":      {nil, OK, nil},
		"spare":     {func(b []byte) { b[0], b[3] = 1, 5 }, Failing, []string{"spare blocks: 5 %, below its threshold of 10 %"}},
		"hot":       {func(b []byte) { b[0], b[1] = 2, 0x6d }, Warning, []string{"temperature beyond its limits: 92 °C"}},
		"degraded":  {func(b []byte) { b[0] = 4 }, Failing, []string{"it says that it is no longer reliable"}},
		"read-only": {func(b []byte) { b[0] = 12 }, Failing, []string{"it says that it is no longer reliable", "it has become read-only"}},
		"backup":    {func(b []byte) { b[0] = 16 }, Failing, []string{"the backup of its volatile memory has failed"}},
		"region":    {func(b []byte) { b[0] = 32 }, Warning, []string{"its persistent memory region has become read-only"}},
		"future":    {func(b []byte) { b[0] = 0x80 }, Warning, []string{"it warns of something unknown: bits 0x80"}},
		"worn":      {func(b []byte) { b[5] = 104 }, Warning, []string{"worn: 104 % of the life that it was made for"}},
		"errors":    {func(b []byte) { b[160] = 12 }, Warning, []string{"media errors: 12"}},
	} {
		disk := &fake{answers: map[string]answer{"nvme": {data: healthLog(test.change)}}}
		r, err := nvmeReport(disk)
		if err != nil || r.Verdict != test.verdict || !slices.Equal(r.Reasons, test.reasons) {
			t.Errorf("%s: %s %q %v, want %s %q", name, r.Verdict, r.Reasons, err, test.verdict, test.reasons)
		}
		if want := []string{"nvme 02 ffffffff 007f0002"}; !slices.Equal(disk.log, want) {
			t.Errorf("%s: asked %v", name, disk.log)
		}
	}
	if _, err := nvmeReport(&fake{answers: map[string]answer{"nvme": {err: ErrUnsupported}}}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("no log: %v", err)
	}
}

func TestNVMeCounters(t *testing.T) {
	r, err := decodeNVMe(healthLog(func(b []byte) {
		b[5], b[32], b[48], b[112], b[128], b[144] = 3, 2, 1, 7, 8, 9
		b[48+9] = 1 // beyond 64 bits
	}))
	n := func(v int64) *int64 { return &v }
	want := Counters{Temperature: n(37), PowerOnHours: n(8), PowerCycles: n(7), Used: n(3), Read: n(1024000), Written: n(1<<63 - 1), MediaErrors: n(0), UnsafeCutOffs: n(9)}
	if err != nil || !reflect.DeepEqual(r.Counters, want) {
		t.Errorf("got %s %v\nwant %s", show(r.Counters), err, show(want))
	}
}

// logPage is one of SCSI's: code, then parameters.
func logPage(code byte, params ...[]byte) answer {
	b := []byte{code, 0, 0, 0}
	for i := 0; i < len(params); i += 2 {
		b = append(b, 0, params[i][0], 0, byte(len(params[i+1])))
		b = append(b, params[i+1]...)
	}
	b[3] = byte(len(b) - 4)
	return answer{data: b}
}

func TestSCSI(t *testing.T) {
	disk := func(asc byte, uncorrected byte) *fake {
		return &fake{answers: map[string]answer{
			"page 00": {data: []byte{0, 0, 0, 7, 0, 2, 3, 0x0d, 0x11, 0x15, 0x2f}},
			"page 02": logPage(2, []byte{5}, []byte{0, 0, 0, 0, 0, 0, 4, 0}, []byte{6}, []byte{0, uncorrected}),
			"page 03": logPage(3, []byte{6}, []byte{0, uncorrected}),
			"page 0d": logPage(0x0d, []byte{0}, []byte{0, 31}),
			"page 11": logPage(0x11, []byte{1}, []byte{0, 0, 0, 12}),
			"page 15": logPage(0x15, []byte{0}, []byte{0, 0, 2, 88, 0, 0}),
			"page 2f": logPage(0x2f, []byte{0}, []byte{asc, 0x10, 40}),
		}}
	}
	n := func(v int64) *int64 { return &v }
	r, err := scsiReport(disk(0, 0))
	want := Report{SCSI, OK, nil, Counters{Temperature: n(31), PowerOnHours: n(10), Used: n(12), Written: n(1024), MediaErrors: n(0)}}
	if err != nil || !reflect.DeepEqual(r, want) {
		t.Errorf("got %+v %s %v", r, show(r.Counters), err)
	}
	for _, test := range []struct {
		asc, uncorrected byte
		verdict          string
		reasons          []string
	}{
		{0x5d, 0, Failing, []string{"it says that it is about to fail (5d/10)"}},
		{0x0b, 0, Warning, []string{"it warns of its health (0b/10)"}},
		{0, 2, Warning, []string{"media errors: 4"}},
	} {
		if r, err := scsiReport(disk(test.asc, test.uncorrected)); err != nil || r.Verdict != test.verdict || !slices.Equal(r.Reasons, test.reasons) {
			t.Errorf("%s %q %v, want %s %q", r.Verdict, r.Reasons, err, test.verdict, test.reasons)
		}
	}
	if _, err := scsiReport(&fake{}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("a virtual disk: %v", err)
	}
	without := disk(0, 0)
	delete(without.answers, "page 2f")
	if _, err := scsiReport(without); !errors.Is(err, ErrUnsupported) {
		t.Errorf("no page of exceptions: %v", err)
	}
}

func TestWear(t *testing.T) {
	for _, test := range []struct {
		a, b, reserve uint8
		ok            bool
		verdict       string
		used          int64
	}{
		{0, 0, 0, false, "", 0}, {1, 2, 1, true, OK, 20}, {11, 1, 1, true, Warning, 110}, {1, 1, 2, true, Warning, 10}, {1, 1, 3, true, Failing, 10},
	} {
		r, ok := Wear(test.a, test.b, test.reserve)
		if ok != test.ok || r.Verdict != test.verdict || ok && *r.Counters.Used != test.used {
			t.Errorf("%v: %+v %v", test, r, ok)
		}
	}
}

func TestIdentifyFirmware(t *testing.T) {
	page := append([]byte{0, 0x89, 2, 0x38}, make([]byte, 56)...)
	page = append(page, identity(nil)...)
	if got := IdentifyFirmware(page); got != "1.0 BETA" {
		t.Errorf("firmware %q", got)
	}
	for _, bad := range [][]byte{nil, page[:100], append([]byte{0, 0x80}, page[2:]...)} {
		if got := IdentifyFirmware(bad); got != "" {
			t.Errorf("firmware %q of %d bytes", got, len(bad))
		}
	}
}

// What a disk answers is not to be trusted: all bytes of a disk from a fuzzer.
func FuzzDisk(f *testing.F) {
	f.Add(uint8(0), identity(nil))
	f.Add(uint8(1), healthLog(nil))
	f.Add(uint8(2), logPage(0x2f, []byte{0}, []byte{0x5d, 0x10, 40}).data)
	f.Add(uint8(3), left(0, smartSignature, 0x50))
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		var r Report
		var err error
		switch kind % 4 {
		case 0:
			data := append(slices.Clone(b), make([]byte, 512)...)[:512]
			r, err = (ataAnswers{data: data, thresholds: data, statistics: map[uint8][]byte{1: b, 3: b, 5: b, 7: b}}).report()
		case 1:
			r, err = decodeNVMe(b)
		case 2:
			r, err = decodeSCSI(map[uint8][]byte{pageExceptions: b, pageWrite: b, pageRead: b, pageTemp: b, pageScan: b, pageSolidState: b})
		case 3:
			decodeRegisters(b)
			IdentifyFirmware(b)
			return
		}
		if err == nil && (r.Verdict == OK) != (len(r.Reasons) == 0) {
			t.Errorf("%+v", r)
		}
		for _, n := range []*int64{r.Counters.PowerOnHours, r.Counters.Written, r.Counters.Read, r.Counters.MediaErrors} {
			if n != nil && *n < 0 {
				t.Errorf("counts to %d", *n)
			}
		}
	})
}
