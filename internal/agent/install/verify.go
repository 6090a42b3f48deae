package install

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/secret"
)

// findDisk finds the disk again: by serial or WWN where it has one, else by
// its place on the bus; size and sector size have to agree in every case.
func findDisk(want plan.Disk, m Machine) (plan.Disk, error) {
	disks, err := m.Disks()
	if err != nil {
		return plan.Disk{}, fmt.Errorf("find disk %s: %w", want, err)
	}
	var same []plan.Disk
	for _, d := range disks {
		if sameDisk(want, d) {
			same = append(same, d)
		}
	}
	switch len(same) {
	case 1:
	case 0:
		return plan.Disk{}, refuse("find disk %s: not there; there is %s", want, list(disks))
	default:
		return plan.Disk{}, refuse("find disk %s: there are several: %s", want, list(same))
	}
	got := same[0]
	if got.Size != want.Size || got.SectorSize != want.SectorSize {
		return plan.Disk{}, refuse("disk %s: expected %d bytes in sectors of %d, found %d bytes in sectors of %d",
			got, want.Size, want.SectorSize, got.Size, got.SectorSize)
	}
	return got, nil
}

func sameDisk(want, got plan.Disk) bool {
	switch {
	case want.Serial != "" && want.WWN != "":
		return want.Serial == got.Serial && want.WWN == got.WWN
	case want.Serial != "":
		return want.Serial == got.Serial
	case want.WWN != "":
		return want.WWN == got.WWN
	}
	return want.Path == got.Path
}

func list(disks []plan.Disk) string {
	if len(disks) == 0 {
		return "no disk at all"
	}
	names := make([]string, len(disks))
	for i, d := range disks {
		names[i] = d.String()
	}
	return strings.Join(names, ", ")
}

// usableDisk finds the disk, and refuses it when it is in use or read-only.
func usableDisk(want plan.Disk, m Machine) (plan.Disk, error) {
	d, err := findDisk(want, m)
	if err != nil {
		return d, err
	}
	users, err := m.InUse(d.Device)
	if err != nil {
		return d, fmt.Errorf("see who uses %s: %w", d, err)
	}
	if len(users) > 0 {
		return d, refuse("disk %s is in use: %s", d, strings.Join(users, "; "))
	}
	ro, err := m.ReadOnly(d.Device)
	if err != nil {
		return d, fmt.Errorf("see if %s is writable: %w", d, err)
	}
	if ro {
		return d, refuse("disk %s is read-only", d)
	}
	return d, nil
}

func checkDisk(a plan.CheckDisk, m Machine) (note string, err error) {
	d, err := usableDisk(a.Disk, m)
	if err != nil {
		return "", err
	}
	if d.Device != a.Disk.Device {
		note = fmt.Sprintf("%s is %s now", a.Disk, d.Device)
	}
	return note, nil
}

// checkMemory reads MemAvailable of proc(5).
func checkMemory(a plan.CheckMemory, meminfo string) error {
	f, err := os.Open(meminfo)
	if err != nil {
		return fmt.Errorf("read available memory: %w", err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) < 2 || fields[0] != "MemAvailable:" {
			continue
		}
		kib, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return fmt.Errorf("read available memory: %w", err)
		}
		if have := kib << 10; have < a.Need {
			return refuse("memory: %s are available, the install needs %s", plan.Bytes(have), plan.Bytes(a.Need))
		}
		return nil
	}
	return fmt.Errorf("read available memory: no MemAvailable in %s", meminfo)
}

func checkSecrets(a plan.CheckSecrets, s secret.Set) error {
	if err := s.Require("the install", a.Names...); err != nil {
		return refusal{err}
	}
	return nil
}

func checkTools(a plan.CheckTools, m Machine) error {
	var missing []string
	for _, name := range a.Programs {
		if _, err := m.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return refuse("programs are missing: %s", strings.Join(missing, ", "))
	}
	return nil
}

// payloadPath is where the payload is on this machine.
func payloadPath(src request.Source, m Machine) (string, error) {
	switch {
	case src.Path != "":
		return src.Path, nil
	case src.PartLabel != "":
		path, err := m.FindPartition(src.PartLabel)
		if err != nil {
			return "", fmt.Errorf("find payload in partition %q: %w", src.PartLabel, err)
		}
		return path, nil
	case src.Serial != "":
		return payloadDisk(src.Serial, m)
	}
	return "", errors.New("find payload: the request does not say where it is")
}

func payloadDisk(serial string, m Machine) (string, error) {
	disks, err := m.Disks()
	if err != nil {
		return "", fmt.Errorf("find payload on disk %s: %w", serial, err)
	}
	same := slices.DeleteFunc(slices.Clone(disks), func(d plan.Disk) bool { return d.Serial != serial })
	if len(same) != 1 {
		return "", fmt.Errorf("find payload: one disk has to have the serial %s; there is %s", serial, list(disks))
	}
	return same[0].Device, nil
}

// checkPayload reads the whole payload and compares its hash.
func checkPayload(ctx context.Context, a plan.CheckPayload, m Machine, progress func(int64)) error {
	path, err := payloadPath(a.Payload.Source, m)
	if err != nil {
		return err
	}
	src, err := m.Open(path)
	if err != nil {
		return fmt.Errorf("open payload: %w", err)
	}
	defer src.Close()
	size, device, err := src.Size()
	if err != nil {
		return fmt.Errorf("measure payload %s: %w", path, err)
	}
	if size < a.Payload.Size || size > a.Payload.Size && !device {
		return fmt.Errorf("payload %s: expected %d bytes, found %d", path, a.Payload.Size, size)
	}
	sum, err := hashSource(ctx, src, a.Payload.Size, progress)
	if err != nil {
		return fmt.Errorf("read payload %s: %w", path, err)
	}
	if sum != strings.ToLower(a.Payload.SHA256) {
		return fmt.Errorf("payload %s: expected SHA-256 %s, found %s: it was altered or damaged", path, a.Payload.SHA256, sum)
	}
	return nil
}

// hashBuffer is read at a time; progress is reported every hashReport.
const (
	hashBuffer = 1 << 20
	hashReport = 250 * time.Millisecond
)

// hashSource reads size bytes. What was read leaves the page cache at once:
// the machine may have less memory than the payload has bytes.
func hashSource(ctx context.Context, src Source, size int64, progress func(int64)) (string, error) {
	h, buf, last := sha256.New(), make([]byte, hashBuffer), time.Now()
	for done := int64(0); done < size; {
		if err := context.Cause(ctx); err != nil {
			return "", err
		}
		n, err := io.ReadFull(src, buf[:min(hashBuffer, size-done)])
		if err != nil {
			return "", fmt.Errorf("at byte %d of %d: %w", done+int64(n), size, err)
		}
		h.Write(buf[:n])
		done += int64(n)
		src.Forget(done)
		if done == size || time.Since(last) >= hashReport {
			last = time.Now()
			progress(done)
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}
