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

	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/agent/within"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/secret"
)

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
			return storage.Refuse("memory: %s are available, the install needs %s", plan.Bytes(have), plan.Bytes(a.Need))
		}
		return nil
	}
	return fmt.Errorf("read available memory: no MemAvailable in %s", meminfo)
}

func checkSecrets(a plan.CheckSecrets, s secret.Set) error {
	if err := s.Require("the install", a.Names...); err != nil {
		return storage.Refuse("%w", err)
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
		return storage.Refuse("programs are missing: %s", strings.Join(missing, ", "))
	}
	return nil
}

// payloadPath is where the payload is on this machine: a file of the target, or
// what src says.
func (r *run) payloadPath(file string, src request.Source) (string, error) {
	switch {
	case file != "":
		return within.Root(r.Root).Plain(file)
	case src.Path != "":
		return src.Path, nil
	case src.PartLabel != "":
		path, err := r.Machine.FindPartition(src.PartLabel)
		if err != nil {
			return "", fmt.Errorf("find payload in partition %q: %w", src.PartLabel, err)
		}
		return path, nil
	case src.Serial != "":
		return payloadDisk(src.Serial, r.Disks)
	}
	return "", errors.New("find payload: the request does not say where it is")
}

func payloadDisk(serial string, m storage.Machine) (string, error) {
	disks, err := m.Disks()
	if err != nil {
		return "", fmt.Errorf("find payload on disk %s: %w", serial, err)
	}
	same := slices.DeleteFunc(slices.Clone(disks), func(d plan.Disk) bool { return d.Serial != serial })
	if len(same) != 1 {
		return "", fmt.Errorf("find payload: one disk has to have the serial %s, %d of %d have it", serial, len(same), len(disks))
	}
	return same[0].Device, nil
}

// checkPayload reads the whole payload and compares its hash. One that was
// received is not kept when it is wrong.
func (r *run) checkPayload(ctx context.Context, a plan.CheckPayload, progress func(int64)) error {
	path, err := r.payloadPath(a.Path, a.Payload.Source)
	if err != nil {
		return err
	}
	err = r.checkFile(ctx, path, a.Payload, progress)
	if err != nil && a.Path != "" {
		err = errors.Join(err, target{root: within.Root(r.Root)}.remove(a.Path))
	}
	return err
}

func (r *run) checkFile(ctx context.Context, path string, want request.Payload, progress func(int64)) error {
	src, err := r.Machine.Open(path)
	if err != nil {
		return fmt.Errorf("open payload: %w", err)
	}
	defer src.Close()
	size, device, err := src.Size()
	if err != nil {
		return fmt.Errorf("measure payload %s: %w", path, err)
	}
	if size < want.Size || size > want.Size && !device {
		return fmt.Errorf("payload %s: expected %d bytes, found %d", path, want.Size, size)
	}
	src.Forget(0) // what the disk has counts, not what was written to it
	sum, err := hashSource(ctx, src, want.Size, progress)
	if err != nil {
		return fmt.Errorf("read payload %s: %w", path, err)
	}
	if sum != strings.ToLower(want.SHA256) {
		return fmt.Errorf("payload %s: expected SHA-256 %s, found %s: it was altered or damaged", path, want.SHA256, sum)
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
