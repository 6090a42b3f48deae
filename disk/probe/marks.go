package probe

// mark is content that is known by its magic bytes alone.
type mark struct {
	typ, usage string
	at         int64 // bytes; negative: from the end
	align      int64 // for places from the end: rounded down to this first
	magic      string
}

// marks are of what vic does not read any further. They are from the formats'
// own documentation and headers; magics of two bytes come with more that has
// to be there.
var marks = []mark{
	{"xfs_log", UsageOther, 0, 0, "\xfe\xed\xba\xbe"},
	{"ReFS", UsageFilesystem, 0, 0, "\x00\x00\x00ReFS\x00"},
	{"udf", UsageFilesystem, 0x8801, 0, "NSR0"},
	{"udf", UsageFilesystem, 0x9001, 0, "NSR0"},
	{"udf", UsageFilesystem, 0x9801, 0, "NSR0"},
	{"hfsplus", UsageFilesystem, 0x400, 0, "H+\x00\x04"},
	{"hfsplus", UsageFilesystem, 0x400, 0, "HX\x00\x05"},
	{"apfs", UsageFilesystem, 32, 0, "NXSB"},
	{"jfs", UsageFilesystem, 0x8000, 0, "JFS1"},
	{"reiserfs", UsageFilesystem, 0x10034, 0, "ReIsEr"},
	{"nilfs2", UsageFilesystem, 0x400, 0, "\x02\x00\x00\x00\x00\x00\x34\x34"},
	{"gfs2", UsageFilesystem, 0x10000, 0, "\x01\x16\x19\x70\x00\x00\x00\x01"},
	{"ocfs2", UsageFilesystem, 0x2000, 0, "OCFSV2"},
	{"VMFS_volume_member", UsageRAID, 0x100000, 0, "\x0d\xd0\x01\xc0"},
	{"stratis", UsageRAID, 0x204, 0, "!Stra0tis\x86\xff\x02^Arh"},
	{"vdo", UsageOther, 0, 0, "dmvdo001"},
	{"DM_verity_hash", UsageCrypto, 0, 0, "verity\x00\x00"},
	{"DM_integrity", UsageCrypto, 0, 0, "integrt\x00"},
	{"ddf_raid_member", UsageRAID, -0x200, 0x200, "\xde\x11\xde\x11"},
	{"ddf_raid_member", UsageRAID, -0x20200, 0x200, "\xde\x11\xde\x11"},
	{"isw_raid_member", UsageRAID, -0x400, 0x200, "Intel Raid ISM Cfg Sig. "},
	{"drbd", UsageRAID, -0x1000 + 0x3c, 0x1000, "\x83\x74\x02\x6b"},
	{"drbd", UsageRAID, -0x1000 + 0x3c, 0x1000, "\x83\x74\x02\x6d"},
}

// place is where a mark is in a device of that size.
func (m mark) place(size int64) int64 {
	if m.at < 0 {
		return size/m.align*m.align + m.at
	}
	return m.at
}

// marked lists the marks that are there, each type once.
func marked(s *source) []Result {
	var list []Result
	seen := map[string]bool{}
	for _, m := range marks {
		at := m.place(s.size)
		if !seen[m.typ] && s.read(at, len(m.magic)).has(0, m.magic) {
			seen[m.typ] = true
			list = append(list, Result{Type: m.typ, Usage: m.usage, Offset: at})
		}
	}
	return list
}
