package smart

import (
	"bytes"
	"encoding/binary"
	"math/rand"
	"testing"

	library "github.com/anatol/smart.go"
)

// Pages of random bytes are read as smart.go reads them.
func TestPagesAgainstTheLibrary(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	for range 100 {
		page := make([]byte, 512)
		random.Read(page)
		sameHealth(t, page)
		sameAttributes(t, page)
		sameIdentification(t, page)
	}
}

func decode(t *testing.T, page []byte, into any) {
	t.Helper()
	if err := binary.Read(bytes.NewReader(page), binary.LittleEndian, into); err != nil {
		t.Fatal(err)
	}
}

func same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

func sameHealth(t *testing.T, page []byte) {
	t.Helper()
	var want library.NvmeSMARTLog
	decode(t, page, &want)
	got := (*nvmeHealth)(page)
	same(t, "critical warnings", got.warnings(), want.CritWarning)
	same(t, "temperature", got.kelvin(), want.Temperature)
	same(t, "spare blocks", got.spare(), want.AvailSpare)
	same(t, "least spare blocks", got.spareLimit(), want.SpareThresh)
	same(t, "used", got.used(), want.PercentUsed)
	for _, c := range []struct {
		what string
		got  wide
		want library.Uint128
	}{
		{"units read", got.unitsRead(), want.DataUnitsRead},
		{"units written", got.unitsWritten(), want.DataUnitsWritten},
		{"power cycles", got.powerCycles(), want.PowerCycles},
		{"power on hours", got.powerOnHours(), want.PowerOnHours},
		{"unsafe shutdowns", got.unsafeCutOffs(), want.UnsafeShutdowns},
		{"media errors", got.mediaErrors(), want.MediaErrors},
	} {
		same(t, c.what, [2]uint64{c.got.low, c.got.high}, c.want.Val)
	}
}

func sameAttributes(t *testing.T, page []byte) {
	t.Helper()
	var data library.AtaSmartPageRaw
	var thresholds library.AtaSmartThresholdsPageRaw
	decode(t, page, &data)
	decode(t, page, &thresholds)
	got, least := attributes((*[ataSector]byte)(page)), limits((*[ataSector]byte)(page))
	for _, want := range data.Attrs {
		if want.Id == 0 {
			continue
		}
		same(t, "attribute", got[0], ataAttribute{want.Id, want.Flags, want.Current, want.Worst, want.VendorBytes})
		got = got[1:]
	}
	same(t, "attributes left", len(got), 0)
	want := map[uint8]uint8{}
	for _, e := range thresholds.ThresholdEntries {
		want[e.Id] = e.Threshold
	}
	for id, limit := range want {
		same(t, "threshold", least[id], limit)
	}
	same(t, "thresholds", len(least), len(want))
}

func sameIdentification(t *testing.T, page []byte) {
	t.Helper()
	copy(page[46:], "1.0 BETA")
	var want library.AtaIdentifyDevice
	decode(t, page, &want)
	got := (*identification)(page)
	same(t, "firmware", got.firmware(), want.FirmwareRevision())
	same(t, "rotation", got.ssd(), want.RotationRate == 1)
	same(t, "SMART", got.hasSMART(), want.CommandsSupported2>>14 == 1 && want.CommandsSupported1&1 != 0 &&
		want.CommandsEnabled3>>14 == 1 && want.CommandsEnabled1&1 != 0)
	same(t, "logs", got.hasLogs(), want.CommandsSupported3>>14 == 1 && want.CommandsSupported3>>5&1 != 0)
	sector := uint64(ataSector)
	if w := want.LogicalPerPhisicalSectors >> 12; w == 0b0101 || w == 0b0111 {
		sector = 2 * (uint64(want.LogicalSectorSize[1])<<16 | uint64(want.LogicalSectorSize[0]))
	}
	same(t, "sector", got.sector(), sector)
}
