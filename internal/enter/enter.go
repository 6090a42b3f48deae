// Package enter is what runs on a machine right before vic's RAM system takes
// it over: it loads what a client has uploaded, and ends the running system.
//
//	DIR/enter.json  order.Order: what the files beside it have to be
//	kernel          verified, and given to kexec
//	initrd          the same, in one or several parts, with a segment appended in memory:
//	                  /vic/handover.json      from DIR/handover.json
//	                  /vic/ssh/ssh_host_*_key the machine's own, from its disk
//
// The host keys do not leave the machine: what goes to the client is their public
// half (order.Answer), over the connection that was verified with one of them. Nothing
// is written to a disk. What was uploaded is freed while it is read, as memory is
// what such machines are short of.
package enter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/victorinix/vic/internal/enter/order"
	"github.com/victorinix/vic/internal/handover"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/kexec"
)

// System is the running system.
type System struct {
	Tools tool.Runner
	// Root is "" or, in tests, where /etc and /proc are.
	Root string
	UID  int // effective
	PID  int // of this program
	// Load and Loaded are those of kexec, outside of tests.
	Load   func(kexec.Kernel) (kexec.Method, error)
	Loaded func() (bool, error)
}

// Running is the system that the program runs on.
func Running() System {
	return System{Tools: tool.Exec{}, UID: os.Geteuid(), PID: os.Getpid(), Load: kexec.Load, Loaded: kexec.Loaded}
}

// ErrRefused is wrapped by the errors of Enter that say what stands in the way:
// nothing was loaded, and all that was uploaded and is right is still there.
var ErrRefused = errors.New("this system is not left")

// Enter verifies what is in dir and loads it. It consumes the kernel and the
// initrd, and leaves its answer in dir: called again, because the client's
// connection broke, it answers the same.
func (s System) Enter(ctx context.Context, dir string) (order.Answer, error) {
	if s.UID != 0 {
		return order.Answer{}, fmt.Errorf("%w: only root may load a kernel", ErrRefused)
	}
	root, err := openFolder(dir)
	if err != nil {
		return order.Answer{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	defer root.Close()
	unlock, err := lock(root)
	if err != nil {
		return order.Answer{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	defer unlock()
	in, err := readUpload(root)
	if err != nil {
		return order.Answer{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if a, ok, err := s.answered(in); ok || err != nil {
		return a, err
	}
	a, err := s.enter(ctx, in)
	if err != nil {
		return a, err
	}
	return a, in.note(a)
}

// enter is Enter for what was not loaded yet.
func (s System) enter(ctx context.Context, in *upload) (order.Answer, error) {
	if err := s.checkMemory(in.order.Size()); err != nil {
		return order.Answer{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	var missing []error
	for _, f := range in.order.Files() {
		missing = append(missing, in.arrived(f))
	}
	if err := errors.Join(missing...); err != nil {
		return order.Answer{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	id, err := s.identity(ctx)
	if err != nil {
		return order.Answer{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	method, err := s.load(in, id)
	if err != nil {
		return order.Answer{}, err
	}
	a := order.Answer{Loaded: string(method), NewHostKey: id.made, MachineID: id.machine, Warnings: id.warnings}
	for _, k := range id.keys {
		a.HostKeys = append(a.HostKeys, k.public)
	}
	return a, nil
}

// load puts both files into memory and gives them to the kernel.
func (s System) load(in *upload, id identity) (kexec.Method, error) {
	kernel, err := in.take("kernel", in.order.Kernel)
	if err != nil {
		return "", err
	}
	defer kernel.Close()
	initrd, err := in.take("initrd", in.order.Initrd...)
	if err != nil {
		return "", err
	}
	defer initrd.Close()
	if err := appendSegment(initrd, in.handover, id.keys); err != nil {
		return "", fmt.Errorf("append the handover to the initrd: %w", err)
	}
	return s.Load(kexec.Kernel{Image: kernel, Initrd: initrd, Cmdline: in.order.Cmdline})
}

// upload is a folder with what a client wants to run.
type upload struct {
	root      *os.Root
	order     order.Order
	orderText []byte
	handover  []byte
}

// openFolder opens the folder that nobody else can put files into.
func openFolder(dir string) (*os.Root, error) {
	if err := checkFolder(dir); err != nil {
		return nil, err
	}
	return os.OpenRoot(dir)
}

// checkFolder refuses a folder into which others than root, or who runs this by
// sudo, can put files.
func checkFolder(dir string) error {
	st, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	owner := st.Sys().(*syscall.Stat_t).Uid
	mine := owner == uint32(os.Geteuid()) || fmt.Sprint(owner) == os.Getenv("SUDO_UID")
	if !st.IsDir() || !mine || st.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s must be a folder that its owner, root, can enter alone; it is %v of user %d", dir, st.Mode(), owner)
	}
	return nil
}

// maxDocument bounds the documents; a handover can have many authorized keys.
const maxDocument = 1 << 20

// readUpload reads the documents.
func readUpload(root *os.Root) (*upload, error) {
	text, err := document(root, order.Path)
	if err != nil {
		return nil, err
	}
	o, err := order.Decode(text)
	if err != nil {
		return nil, err
	}
	doc, err := document(root, order.HandoverPath)
	if err != nil {
		return nil, err
	}
	// The RAM system could not tell anybody that it is wrong.
	_, err = handover.Decode(bytes.NewReader(doc))
	return &upload{root, o, text, doc}, err
}

func document(root *os.Root, name string) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(text) > maxDocument {
		return nil, fmt.Errorf("read %s: larger than %d bytes", name, maxDocument)
	}
	return text, nil
}

// machineID is machine-id(5), where there is one.
func (s System) machineID() (string, error) {
	text, err := os.ReadFile(s.Root + "/etc/machine-id")
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the machine-id: %w", err)
	}
	id := strings.TrimSpace(string(text))
	if id == "uninitialized" {
		return "", nil
	}
	return id, nil
}
