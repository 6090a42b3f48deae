package storage

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	plan "github.com/victorinix/vic/internal/plan/storage"
)

// journalVersion is what this package writes and reads.
const journalVersion = 1

// Journal is the record of what a run has done, in a file of JSON lines:
//
//	{"v":1,"plan":"9f86d0...","time":"2026-11-21T22:55:00Z"}
//	{"step":"format mkfs.ext4 main:root","state":"started"}
//	{"step":"format mkfs.ext4 main:root","state":"done"}
//
// Each line is on the medium before the run goes on: "started" before the first
// effect of a step, "done" after its last. A line that a power cut has torn is
// the last one, and is dropped.
//
// The journal is not believed against the disk: it only tells, of content that
// is there, whether it was finished.
type Journal struct {
	file   *os.File
	states map[string]string
}

const (
	stateStarted = "started"
	stateDone    = "done"
)

// line is one of the file; the first one has V, Plan and Time.
type line struct {
	V     int        `json:"v,omitempty"`
	Plan  string     `json:"plan,omitempty"`
	Time  *time.Time `json:"time,omitempty"`
	Step  string     `json:"step,omitempty"`
	State string     `json:"state,omitempty"`
}

// Hash is the name of a plan: equal steps on equal disks have equal hashes.
func Hash(disks map[string]plan.Disk, steps []plan.Step) (string, error) {
	type step struct {
		Phase, Name, Kind string
		Action            plan.Action
	}
	list := make([]step, len(steps))
	for i, s := range steps {
		list[i] = step{string(s.Phase), s.Name, s.Action.Kind(), s.Action}
	}
	b, err := json.Marshal(struct {
		Disks map[string]plan.Disk
		Steps []step
	}{disks, list})
	if err != nil {
		return "", fmt.Errorf("hash plan: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// OpenJournal opens the journal of a plan, or begins it. One of another plan,
// or one that another process has open, is an error.
func OpenJournal(path, hash string) (*Journal, error) {
	j, err := openJournal(path, hash)
	if err != nil {
		return nil, fmt.Errorf("open journal %s: %w", path, err)
	}
	return j, nil
}

func openJournal(path, hash string) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	j := &Journal{file: f, states: map[string]string{}}
	if err := j.begin(path, hash); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return j, nil
}

// begin reads what is there, or writes the first line.
func (j *Journal) begin(path, hash string) error {
	if err := unix.Flock(int(j.file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("another run has it open: %w", err)
	}
	head, err := j.read()
	if err != nil {
		return err
	}
	if head == nil {
		now := time.Now().UTC()
		if err := j.write(line{V: journalVersion, Plan: hash, Time: &now}); err != nil {
			return err
		}
		return syncDir(filepath.Dir(path))
	}
	if head.V != journalVersion {
		return fmt.Errorf("it is of version %d, this vic reads %d", head.V, journalVersion)
	}
	if head.Plan != hash {
		began := ""
		if head.Time != nil {
			began = " that began at " + head.Time.Format(time.RFC3339)
		}
		return fmt.Errorf("it belongs to another plan%s (%.12s, not %.12s): run that one to its end with the same layout and disks, or remove the file to begin anew",
			began, head.Plan, hash)
	}
	return nil
}

// read takes all whole lines and cuts off a torn one; head is nil when there is
// no whole line.
func (j *Journal) read() (head *line, err error) {
	r := bufio.NewReader(j.file)
	var end int64
	for n := 1; ; n++ {
		b, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break // what comes without a line break was not written to its end
		}
		if err != nil {
			return nil, err
		}
		var l line
		if err := json.Unmarshal(b, &l); err != nil {
			if _, err := r.Peek(1); errors.Is(err, io.EOF) {
				break // torn: the sectors of a line may reach the medium in any order
			}
			return nil, fmt.Errorf("line %d is damaged: remove the file to begin anew: %w", n, err)
		}
		end += int64(len(b))
		if head == nil {
			head = &l
			continue
		}
		j.states[l.Step] = l.State
	}
	if err := j.file.Truncate(end); err != nil {
		return nil, err
	}
	_, err = j.file.Seek(end, io.SeekStart)
	return head, err
}

func (j *Journal) write(l line) error {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(l); err != nil {
		return err
	}
	if _, err := j.file.Write(b.Bytes()); err != nil {
		return err
	}
	return j.file.Sync()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Close closes the file; a nil Journal has none.
func (j *Journal) Close() error {
	if j == nil {
		return nil
	}
	return j.file.Close()
}

// key is how a step is called in the journal: names are unique in a phase.
func key(s plan.Step) string { return string(s.Phase) + " " + s.Name }

// started and done say what the journal knows of a step; a nil Journal knows
// nothing.
func (j *Journal) started(s plan.Step) bool { return j != nil && j.states[key(s)] != "" }

func (j *Journal) done(s plan.Step) bool { return j != nil && j.states[key(s)] == stateDone }

func (j *Journal) record(s plan.Step, state string) error {
	if j == nil || j.states[key(s)] == state {
		return nil
	}
	if err := j.write(line{Step: key(s), State: state}); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	j.states[key(s)] = state
	return nil
}
