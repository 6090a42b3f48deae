package release

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// number is "8:1" for a block device, "" for anything else.
func number(path string) string {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return ""
	}
	return fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
}
