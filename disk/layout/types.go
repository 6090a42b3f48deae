package layout

import (
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/victorinix/vic/internal/lazyregexp"
)

// Partition types that other packages look for (UEFI 2.10 §5.3.3, Discoverable
// Partitions Specification).
var (
	TypeESP       = uuid.MustParse("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
	TypeBIOSBoot  = uuid.MustParse("21686148-6449-6e6f-744e-656564454649")
	TypeXBOOTLDR  = uuid.MustParse("bc13c2ff-59e6-4262-a352-b275fd6f7172")
	TypeLinux     = uuid.MustParse("0fc63daf-8483-4772-8e79-3d69d8477de4")
	TypeRootAMD64 = uuid.MustParse("4f68bce3-e8cd-4db1-96e7-fbcaf984b709")
	TypeRootARM64 = uuid.MustParse("b921b045-1df0-41c3-af44-4c6f280d3fae")
)

var guidPattern = lazyregexp.New(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// typeGUID reads a partition type: a code of sgdisk or a GUID.
func typeGUID(s string) (uuid.UUID, error) {
	if s == "" {
		return TypeLinux, nil
	}
	if guid, ok := codes[strings.ToUpper(s)]; ok {
		return uuid.MustParse(guid), nil
	}
	if guidPattern.MatchString(s) {
		return uuid.MustParse(s), nil
	}
	return uuid.UUID{}, fmt.Errorf("unknown partition type %q: expected a code of sgdisk such as EF00, or a GUID", s)
}
