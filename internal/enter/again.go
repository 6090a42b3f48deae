package enter

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/enter/order"
)

// A slow machine takes longer for a kernel than a client waits for a sign of life.
// The client asks again then, while the first attempt may still be going on.
const (
	lockFile   = "lock"
	answerFile = "answer.json"
)

// noted is what an attempt leaves behind: what it was asked, and what it answered.
type noted struct {
	Question string       `json:"question"`
	Answer   order.Answer `json:"answer"`
}

// question tells uploads apart.
func (u *upload) question() string {
	return fmt.Sprintf("%x %x", sha256.Sum256(u.orderText), sha256.Sum256(u.handover))
}

// lock waits for the attempt before, which may still be at it.
func lock(root *os.Root) (unlock func(), err error) {
	f, err := root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", lockFile, err), f.Close())
	}
	return func() { f.Close() }, nil
}

// answered is the answer to the same question, as long as what it loaded is loaded.
func (s System) answered(u *upload) (order.Answer, bool, error) {
	doc, err := document(u.root, answerFile)
	if errors.Is(err, fs.ErrNotExist) {
		return order.Answer{}, false, nil
	}
	if err != nil {
		return order.Answer{}, false, err
	}
	var n noted
	if err := json.Unmarshal(doc, &n); err != nil {
		return order.Answer{}, false, fmt.Errorf("decode %s: %w", answerFile, err)
	}
	loaded, err := s.Loaded()
	return n.Answer, loaded && n.Question == u.question(), err
}

// note writes the answer, as a whole or not at all.
func (u *upload) note(a order.Answer) error {
	doc, err := json.Marshal(noted{u.question(), a})
	if err != nil {
		return err
	}
	if err := u.root.WriteFile(answerFile+".new", doc, 0o600); err != nil {
		return err
	}
	return u.root.Rename(answerFile+".new", answerFile)
}
