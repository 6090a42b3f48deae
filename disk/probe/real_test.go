package probe

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// content is how a real program makes it; IMG is the image, DIR a folder with
// a file in it.
type content struct {
	size  int64
	make  []string // one command line; words are separated by blanks
	stdin string
}

const (
	someUUID = "0b7d0f5c-1a3e-4c58-9d2f-7e6a5b4c3d2e"
	mib      = 1 << 20
)

var contents = map[string]content{
	"ext2":         {16 * mib, []string{"mkfs.ext2 -q -L old IMG"}, ""},
	"ext3":         {32 * mib, []string{"mkfs.ext3 -q -U " + someUUID + " IMG"}, ""},
	"ext4":         {64 * mib, []string{"mkfs.ext4 -q -L sixteen-letters- IMG"}, ""},
	"ext4-64bit":   {64 * mib, []string{"mkfs.ext4 -q -O 64bit,metadata_csum -b 1024 IMG"}, ""},
	"ext4-nojrnl":  {64 * mib, []string{"mkfs.ext4 -q -O ^has_journal,^metadata_csum IMG"}, ""},
	"ext4-journal": {64 * mib, []string{"mkfs.ext4 -q -O journal_dev IMG"}, ""},
	"xfs":          {320 * mib, []string{"mkfs.xfs -q -L twelvechars. IMG"}, ""},
	"xfs-v4":       {320 * mib, []string{"mkfs.xfs -q -m crc=0 -s size=4096 IMG"}, ""},
	"btrfs":        {128 * mib, []string{"mkfs.btrfs -q -L data IMG"}, ""},
	"btrfs-sha":    {128 * mib, []string{"mkfs.btrfs -q --csum sha256 -U " + someUUID + " IMG"}, ""},
	"btrfs-xxhash": {128 * mib, []string{"mkfs.btrfs -q --csum xxhash IMG"}, ""},
	"f2fs":         {64 * mib, []string{"mkfs.f2fs -q -l flash-é IMG"}, ""},
	"fat12":        {4 * mib, []string{"mkfs.vfat -n FLOPPY IMG"}, ""},
	"fat16":        {32 * mib, []string{"mkfs.vfat -F 16 -i abcd0123 IMG"}, ""},
	"fat32":        {64 * mib, []string{"mkfs.vfat -F 32 -n EFI IMG"}, ""},
	"fat32-4k":     {300 * mib, []string{"mkfs.vfat -F 32 -S 4096 -n BIG IMG"}, ""},
	"exfat":        {64 * mib, []string{"mkfs.exfat -L Фото IMG"}, ""},
	"exfat-4k":     {64 * mib, []string{"mkfs.exfat -c 32K IMG"}, ""},
	"ntfs":         {64 * mib, []string{"mkntfs -q -F -f -L Windows-é IMG"}, ""},
	"ntfs-64k":     {64 * mib, []string{"mkntfs -q -F -f -c 65536 IMG"}, ""},
	"swap":         {8 * mib, []string{"mkswap -L swappy IMG"}, ""},
	"swap-64k":     {8 * mib, []string{"mkswap -p 65536 IMG"}, ""},
	"luks1":        {8 * mib, []string{"cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 --uuid " + someUUID + " IMG -"}, "secret"},
	"luks2":        {32 * mib, []string{"cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --label crypt --subsystem vic IMG -"}, "secret"},
	"bcache":       {16 * mib, []string{"make-bcache -B IMG"}, ""},
	"bcache-cache": {72 * mib, []string{"make-bcache -C IMG"}, ""},
	"erofs":        {0, []string{"mkfs.erofs -U " + someUUID + " IMG DIR"}, ""},
	"squashfs":     {0, []string{"mksquashfs DIR IMG -quiet -no-progress"}, ""},
	"iso9660":      {0, []string{"xorriso -as mkisofs -quiet -V DEBIAN -o IMG DIR"}, ""},
	"iso9660-j":    {0, []string{"xorriso -as mkisofs -quiet -J -joliet-long -V A_long_volume_name_of_21 -o IMG DIR"}, ""},
}

// image makes an image of that kind.
func (c content) image(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	img, tree := filepath.Join(dir, "img"), filepath.Join(dir, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "file"), bytes.Repeat([]byte("vic\n"), 5000), 0o644); err != nil {
		t.Fatal(err)
	}
	if c.size > 0 {
		sparse(t, img, c.size)
	}
	for _, line := range c.make {
		words := strings.Fields(strings.NewReplacer("IMG", img, "DIR", tree).Replace(line))
		run(t, c.stdin, words...)
	}
	return img
}

func sparse(t testing.TB, path string, size int64) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

func run(t testing.TB, stdin string, words ...string) string {
	t.Helper()
	out, err := tooltest.Need(t, words[0]).Run(t.Context(), tool.Cmd{Name: words[0], Args: words[1:], Stdin: strings.NewReader(stdin)})
	if err != nil {
		t.Fatal(err)
	}
	return string(out.Stdout)
}

// probeFile probes all of a file.
func probeFile(t testing.TB, path string) []Result {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	list, err := Probe(f, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

var unescaped = regexp.MustCompile(`\\x[0-9a-f]{2}`)

// blkid is what blkid says of a file, without what vic has no word for.
func blkid(t testing.TB, path string) map[string]string {
	t.Helper()
	m := map[string]string{}
	for line := range strings.Lines(run(t, "", "blkid", "-p", "-o", "export", path)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		m[key] = value
	}
	for line := range strings.Lines(run(t, "", "blkid", "-p", "-o", "udev", path)) {
		if label, ok := strings.CutPrefix(strings.TrimSpace(line), "ID_FS_LABEL_ENC="); ok {
			m["LABEL"] = unescaped.ReplaceAllStringFunc(label, func(x string) string {
				b, err := hex.DecodeString(x[2:])
				if err != nil {
					t.Fatal(err)
				}
				return string(b)
			})
		}
	}
	for _, key := range []string{"DEVNAME", "PTTYPE", "SEC_TYPE", "LABEL_FATBOOT", "PART_ENTRY_SCHEME", "SYSTEM_ID", "APPLICATION_ID", "PUBLISHER_ID", "DATA_PREPARER_ID", "VOLUME_SET_ID", "LABEL_RAW", "BOOT_SYSTEM_ID", "MINIMUM_IO_SIZE", "OPTIMAL_IO_SIZE", "LOGUUID", "EXT_JOURNAL", "ENDIANNESS", "FSSIZE", "FSLASTBLOCK", "FSBLOCKSIZE", "BLOCK_SIZE"} {
		delete(m, key)
	}
	return m
}

// asBlkid puts a result in blkid's words.
func asBlkid(r Result) map[string]string {
	m := map[string]string{"TYPE": r.Type, "USAGE": r.Usage, "UUID": r.UUID, "UUID_SUB": r.SubUUID, "LABEL": r.Label, "VERSION": r.Version, "SUBSYSTEM": r.Subsystem}
	maps.DeleteFunc(m, func(_, v string) bool { return v == "" })
	m["VERSION"] = strings.ReplaceAll(m["VERSION"], " ", `\ `)
	if m["VERSION"] == "" {
		delete(m, "VERSION")
	}
	return m
}

func TestLikeBlkid(t *testing.T) {
	if testing.Short() {
		t.Skip("runs every mkfs")
	}
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		t.Run(name, func(t *testing.T) {
			img := contents[name].image(t)
			found := probeFile(t, img)
			if len(found) != 1 {
				t.Fatalf("%+v", found)
			}
			r := found[0]
			if diff := cmp.Diff(blkid(t, img), asBlkid(r)); diff != "" {
				t.Errorf("- blkid, + vic:\n%s", diff)
			}
			st, err := os.Stat(img)
			if err != nil {
				t.Fatal(err)
			}
			if r.Size > st.Size() || r.MinSize > r.Size || r.Size < 0 || r.MinSize < 0 {
				t.Errorf("%d bytes, at least %d, in %d", r.Size, r.MinSize, st.Size())
			}
			if r.Clean != nil && !*r.Clean {
				t.Error("it is not clean")
			}
			t.Logf("%+v", r)
		})
	}
}

func words(n int64) string { return strconv.FormatInt(n, 10) }

func scan(s string, to ...any) error {
	_, err := fmt.Sscan(s, to...)
	return err
}
