package slots

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/victorinix/vic/internal/slot"
)

// firmware is what the boot ROM and the firmware of a Pi 3 read of a card: they know
// short names, and follow the allocation table. It shares no code with what it judges.
type firmware struct{ a, b io.ReaderAt }

// starts is the number of the slot that is started. The first stage has to be as it
// was.
func (f firmware) starts(tryboot bool, firstStage []byte) (int, error) {
	stage, err := shortFile(f.a, "BOOTCODEBIN")
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(stage, firstStage) {
		return 0, errors.New("the first stage is another")
	}
	text, err := shortFile(f.a, "AUTOBOOTTXT")
	if err != nil {
		return 0, err
	}
	section, number, tried := "[all]", slot.A, 0
	for line := range strings.SplitSeq(string(text), "\n") {
		switch {
		case strings.HasPrefix(line, "["):
			section = line
		case strings.HasPrefix(line, "boot_partition=") && section == "[all]":
			number = int(line[len(line)-1] - '0')
		case strings.HasPrefix(line, "boot_partition=") && section == "[tryboot]":
			tried = int(line[len(line)-1] - '0')
		}
	}
	if tryboot && tried != 0 && strings.Contains(string(text), "tryboot_a_b=1") {
		number = tried
	}
	return number, nil
}

// shortFile reads a file of the root directory.
func shortFile(r io.ReaderAt, name string) ([]byte, error) {
	boot := make([]byte, 512)
	if _, err := r.ReadAt(boot, 0); err != nil || boot[510] != 0x55 || boot[511] != 0xaa || string(boot[82:87]) != "FAT32" {
		return nil, fmt.Errorf("no boot sector: %v", err)
	}
	reserved, fatSize, cluster := int64(le.Uint16(boot[14:]))*512, int64(le.Uint32(boot[36:]))*512, int64(boot[13])*512
	read := func(c uint32) []byte {
		b := make([]byte, cluster)
		if _, err := r.ReadAt(b, reserved+2*fatSize+int64(c-2)*cluster); err != nil {
			return nil
		}
		return b
	}
	next := func(c uint32) uint32 {
		b := make([]byte, 4)
		if _, err := r.ReadAt(b, reserved+4*int64(c)); err != nil {
			return 0
		}
		return le.Uint32(b) & 0x0fffffff
	}
	for dir := le.Uint32(boot[44:]); dir >= 2 && dir < 0x0ffffff8; dir = next(dir) {
		entries := read(dir)
		for i := 0; i+32 <= len(entries) && entries[i] != 0; i += 32 {
			e := entries[i : i+32]
			if string(e[:11]) != name || e[11]&8 != 0 {
				continue
			}
			var data []byte
			size := int(le.Uint32(e[28:]))
			for c := uint32(le.Uint16(e[20:]))<<16 | uint32(le.Uint16(e[26:])); c >= 2 && c < 0x0ffffff8 && len(data) < size; c = next(c) {
				data = append(data, read(c)...)
			}
			if len(data) < size {
				return nil, fmt.Errorf("%s: its chain ends after %d of %d bytes", name, len(data), size)
			}
			return data[:size], nil
		}
	}
	return nil, fmt.Errorf("there is no %s", name)
}
