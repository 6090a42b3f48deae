package slot

import (
	"fmt"
	"strconv"
	"strings"
)

// Choice is what autoboot.txt says: which slot starts, and which one is tried when
// the machine was told so right before ("tryboot"). The file always has AutobootSize
// bytes, in one sector: it is changed by writing that, in place. See "autoboot.txt"
// of the Raspberry Pi documentation.
//
//	[all]
//	tryboot_a_b=1
//	boot_partition=1
//	[tryboot]
//	boot_partition=2
//
// The file of a new card says nothing: slot A starts, as on firmware that does not
// know the file.
//
// Where the kernel cannot tell the firmware of tryboot, a slot is the default already
// while it is on trial. A comment says which slot it goes back to:
//
//	# vic: back=1
type Choice struct {
	Default int
	Try     int // 0: nothing is said of trying
	Back    int // the default is on trial, and this is where it goes back to; 0: it is not
}

// AutobootSize is the size of autoboot.txt. The firmware reads at most 512 bytes.
const AutobootSize = 256

// untold is the file of a card that was never updated.
const untold = "# Partition 1 is started. An update writes here which one is, and which one is\n# tried with tryboot; this file keeps its size.\n"

// Encode is the file.
func (c Choice) Encode() []byte {
	text := untold
	if c.Try != 0 {
		text = fmt.Sprintf("[all]\ntryboot_a_b=1\nboot_partition=%d\n[tryboot]\nboot_partition=%d\n", c.Default, c.Try)
	}
	if c.Back != 0 {
		text += fmt.Sprintf("%s%d\n", backMark, c.Back)
	}
	return []byte(text + strings.Repeat("\n", AutobootSize-len(text)))
}

// backMark begins the comment.
const backMark = "# vic: back="

// ParseChoice reads the file as the firmware does: of lines that set the same, the
// last one counts whose section holds.
func ParseChoice(file []byte) (Choice, error) {
	c := Choice{Default: A}
	section, ab := "all", false
	for line := range strings.Lines(string(file)) {
		line = strings.TrimSpace(strings.TrimRight(line, "\x00"))
		if name, ok := strings.CutPrefix(line, "["); ok {
			section = strings.TrimSuffix(name, "]")
			continue
		}
		if n, ok := strings.CutPrefix(line, backMark); ok && (n == "1" || n == "2") {
			c.Back = int(n[0] - '0')
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(value))
		switch key = strings.TrimSpace(key); {
		case key == "tryboot_a_b" && section == "all":
			ab = n == 1 && err == nil
		case key != "boot_partition" || section != "all" && section != "tryboot":
		case err != nil || n != A && n != B:
			return c, fmt.Errorf("%s: %q: partition %d or %d was expected", AutobootFile, line, A, B)
		case section == "all":
			c.Default = n
		default:
			c.Try = n
		}
	}
	if !ab {
		c.Try = 0
	}
	return c, nil
}
