package efi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// Entry is a boot entry to make: a file on a GPT partition.
type Entry struct {
	Label     string
	Partition HardDrive
	Path      string // with backslashes: \EFI\systemd\systemd-bootx64.efi
}

// BootEntry is a boot entry of the firmware.
type BootEntry struct {
	Number uint16 // Boot0003 is 3
	LoadOption
	// Err is why the variable is not a load option; firmware leaves such ones.
	Err error
}

// Active says whether the boot manager may start the entry by itself.
func (b BootEntry) Active() bool { return b.Attributes&LoadActive != 0 }

func global(name string) VariableName { return VariableName{name, Global} }

func bootName(num uint16) VariableName { return global(fmt.Sprintf("Boot%04X", num)) }

// parseBootName accepts the four upper-case hexadecimal digits of UEFI 2.10
// §3.3, so not BootNext or Boot000a.
func parseBootName(n VariableName) (uint16, bool) {
	digits, ok := strings.CutPrefix(n.Name, "Boot")
	if !ok || n.Vendor != Global || len(digits) != 4 || digits != strings.ToUpper(digits) {
		return 0, false
	}
	num, err := strconv.ParseUint(digits, 16, 16)
	return uint16(num), err == nil
}

// AddBootEntry makes the firmware start e and returns the number of its entry.
// An entry for the same file on the same partition is reused, so doing it again
// changes nothing. With first it comes first in the boot order, otherwise it
// keeps its place or comes last; the order of the others stays.
func AddBootEntry(v Variables, e Entry, first bool) (uint16, error) {
	file, err := FileNode(e.Path)
	if err != nil {
		return 0, fmt.Errorf("add boot entry %q: %w", e.Label, err)
	}
	option := LoadOption{Attributes: LoadActive, Description: e.Label, Path: DevicePath{e.Partition.Node(), file}}
	data, err := option.Encode()
	if err != nil {
		return 0, fmt.Errorf("add boot entry %q: %w", e.Label, err)
	}
	num, err := chooseNumber(v, e)
	if err != nil {
		return 0, fmt.Errorf("add boot entry %q: %w", e.Label, err)
	}
	if err := setIfChanged(v, bootName(num), data); err != nil {
		return 0, fmt.Errorf("add boot entry %q: %w", e.Label, err)
	}
	order, err := BootOrder(v)
	if err != nil {
		return 0, fmt.Errorf("add boot entry %q: %w", e.Label, err)
	}
	return num, SetBootOrder(v, insert(order, num, first))
}

// chooseNumber returns the number of the entry that e replaces: among several,
// the first in boot order. Without one it is the lowest free number that the boot
// order does not name either: firmware leaves numbers of entries that are gone, and
// e would come in their place.
func chooseNumber(v Variables, e Entry) (uint16, error) {
	entries, err := ListBootEntries(v)
	if err != nil {
		return 0, err
	}
	order, err := BootOrder(v)
	if err != nil {
		return 0, err
	}
	used := map[uint16]bool{}
	for _, n := range order {
		used[n] = true
	}
	for _, b := range entries {
		if b.Err == nil && b.Starts(e) {
			return b.Number, nil
		}
		used[b.Number] = true
	}
	for num := range 1 << 16 {
		if !used[uint16(num)] {
			return uint16(num), nil
		}
	}
	return 0, errors.New("all 65536 boot entries are in use")
}

// Starts says whether b starts the file of e, by its partition and path. FAT
// ignores case.
func (b BootEntry) Starts(e Entry) bool {
	if len(b.Path) != 2 {
		return false
	}
	h, ok1 := b.Path[0].HardDrive()
	f, ok2 := b.Path[1].File()
	return ok1 && ok2 && h.Partition == e.Partition.Partition && strings.EqualFold(f, e.Path)
}

func insert(order []uint16, num uint16, first bool) []uint16 {
	if first {
		rest := slices.DeleteFunc(slices.Clone(order), func(n uint16) bool { return n == num })
		return append([]uint16{num}, rest...)
	}
	if slices.Contains(order, num) {
		return order
	}
	return append(slices.Clone(order), num)
}

// ListBootEntries returns the boot entries: those in the boot order first, in
// that order, then the others by number.
func ListBootEntries(v Variables) ([]BootEntry, error) {
	names, err := v.List()
	if err != nil {
		return nil, err
	}
	order, err := BootOrder(v)
	if err != nil {
		return nil, err
	}
	var entries []BootEntry
	for _, n := range names {
		num, ok := parseBootName(n)
		if !ok {
			continue
		}
		data, _, err := v.Get(n)
		if err != nil {
			return nil, err
		}
		b := BootEntry{Number: num}
		b.LoadOption, b.Err = ParseLoadOption(data)
		entries = append(entries, b)
	}
	rank := func(b BootEntry) int {
		if i := slices.Index(order, b.Number); i >= 0 {
			return i
		}
		return len(order) + int(b.Number)
	}
	slices.SortFunc(entries, func(a, b BootEntry) int { return rank(a) - rank(b) })
	return entries, nil
}

// RemoveBootEntry takes an entry out of the boot order, out of BootNext, and
// deletes it. Without such an entry the error is fs.ErrNotExist.
func RemoveBootEntry(v Variables, num uint16) error {
	order, err := BootOrder(v)
	if err != nil {
		return fmt.Errorf("remove boot entry %04X: %w", num, err)
	}
	rest := slices.DeleteFunc(slices.Clone(order), func(n uint16) bool { return n == num })
	if err := SetBootOrder(v, rest); err != nil {
		return fmt.Errorf("remove boot entry %04X: %w", num, err)
	}
	next, ok, err := number(v, "BootNext")
	if err == nil && ok && next == num {
		err = v.Delete(global("BootNext"))
	}
	if err == nil {
		err = v.Delete(bootName(num))
	}
	if err != nil {
		return fmt.Errorf("remove boot entry %04X: %w", num, err)
	}
	return nil
}

// SetBootNext makes the firmware start the entry once, at the next boot.
func SetBootNext(v Variables, num uint16) error {
	if _, _, err := v.Get(bootName(num)); err != nil {
		return fmt.Errorf("boot entry %04X next: %w", num, err)
	}
	return setIfChanged(v, global("BootNext"), binary.LittleEndian.AppendUint16(nil, num))
}

// BootNext returns what SetBootNext has set; ok is false when nothing is.
func BootNext(v Variables) (num uint16, ok bool, err error) { return number(v, "BootNext") }

// BootCurrent returns the entry that this boot came from; ok is false when the
// firmware does not say.
func BootCurrent(v Variables) (num uint16, ok bool, err error) { return number(v, "BootCurrent") }

func number(v Variables, name string) (uint16, bool, error) {
	b, _, err := v.Get(global(name))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	if len(b) != 2 {
		return 0, false, fmt.Errorf("read EFI variable %s: it has %d bytes, want 2", name, len(b))
	}
	return binary.LittleEndian.Uint16(b), true, nil
}

// BootOrder returns the numbers of the boot entries in the order in which the
// firmware tries them. A firmware without the variable has none.
func BootOrder(v Variables) ([]uint16, error) {
	b, _, err := v.Get(global("BootOrder"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(b)%2 != 0 {
		return nil, fmt.Errorf("read EFI variable BootOrder: it has %d bytes, an odd number", len(b))
	}
	var order []uint16
	for ; len(b) > 0; b = b[2:] {
		order = append(order, binary.LittleEndian.Uint16(b))
	}
	return order, nil
}

// SetBootOrder replaces the boot order; an empty one deletes the variable.
func SetBootOrder(v Variables, order []uint16) error {
	if len(order) == 0 {
		return ignoreNotExist(v.Delete(global("BootOrder")))
	}
	var b []byte
	for _, n := range order {
		b = binary.LittleEndian.AppendUint16(b, n)
	}
	return setIfChanged(v, global("BootOrder"), b)
}

// setIfChanged spares the flash memory, and firmware that wears it badly.
func setIfChanged(v Variables, n VariableName, data []byte) error {
	old, attrs, err := v.Get(n)
	if err == nil && attrs == bootAttributes && slices.Equal(old, data) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return v.Set(n, data, bootAttributes)
}
