// Package enter is what runs on a machine right before vic's RAM system takes
// it over: it loads what a client has uploaded, and ends the running system.
//
//	DIR/enter.json     what the files beside it have to be (Order)
//	DIR/kernel         verified, and given to kexec
//	DIR/initrd         the same, with a segment appended in memory:
//	                     /vic/handover.json      from DIR/handover.json
//	                     /vic/ssh/ssh_host_*_key the machine's own, from its disk
//
// The host keys do not leave the machine: what goes to the client is their public
// half (Answer), over the connection that was verified with one of them. Nothing
// is written to a disk. What was uploaded is freed while it is read, as memory is
// what such machines are short of.
package enter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/victorinix/vic/internal/handover"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/kexec"
)

// Version is the version of Order that this package reads.
const Version = 1

// The files of an upload.
const (
	OrderFile    = "enter.json"
	KernelFile   = "kernel"
	InitrdFile   = "initrd"
	HandoverFile = "handover.json"
)

// Order says what was uploaded.
type Order struct {
	Version int    `json:"version"`
	Kernel  File   `json:"kernel"`
	Initrd  File   `json:"initrd"`
	Cmdline string `json:"cmdline"` // the whole kernel command line
}

// File is a file beside the order.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`   // in bytes
	SHA256 string `json:"sha256"` // in hex
}

// Answer is what the client is told, as one line of JSON, before this system ends.
type Answer struct {
	Loaded kexec.Method `json:"loaded"`
	// HostKeys are the public keys of the RAM system's SSH server, as in
	// known_hosts(5) without the host: "ssh-ed25519 AAAA...".
	HostKeys []string `json:"hostKeys"`
	// NewHostKey: none of the machine's own could be handed over; HostKeys has one
	// that was made for the RAM system.
	NewHostKey bool   `json:"newHostKey,omitempty"`
	MachineID  string `json:"machineId"` // machine-id(5); empty: it has none
	// Warnings are for people: what is not as it should be, but is no reason to stay.
	Warnings []string `json:"warnings,omitempty"`
}

// System is the running system.
type System struct {
	Tools tool.Runner
	// Root is "" or, in tests, where /etc and /proc are.
	Root string
	UID  int // effective
	PID  int // of this program
	// Load is kexec.Load, outside of tests.
	Load func(kexec.Kernel) (kexec.Method, error)
}

// Running is the system that the program runs on.
func Running() System {
	return System{Tools: tool.Exec{}, UID: os.Geteuid(), PID: os.Getpid(), Load: kexec.Load}
}

// ErrRefused is wrapped by the errors of Enter that say what stands in the way:
// nothing was loaded, and all that was uploaded and is right is still there.
var ErrRefused = errors.New("this system is not left")

// Enter verifies what is in dir and loads it. It consumes the kernel and the
// initrd.
func (s System) Enter(ctx context.Context, dir string) (Answer, error) {
	if s.UID != 0 {
		return Answer{}, fmt.Errorf("%w: only root may load a kernel", ErrRefused)
	}
	in, err := s.open(dir)
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	defer in.root.Close()
	if err := s.checkMemory(in.order.Kernel.Size + in.order.Initrd.Size); err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	id, err := s.identity(ctx)
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err := errors.Join(in.verify(in.order.Kernel), in.verify(in.order.Initrd)); err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	method, err := s.load(in, id)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Loaded: method, NewHostKey: id.made, MachineID: id.machine, Warnings: id.warnings}
	for _, k := range id.keys {
		a.HostKeys = append(a.HostKeys, k.public)
	}
	return a, nil
}

// load puts both files into memory and gives them to the kernel.
func (s System) load(in *upload, id identity) (kexec.Method, error) {
	kernel, err := in.take(in.order.Kernel)
	if err != nil {
		return "", err
	}
	defer kernel.Close()
	initrd, err := in.take(in.order.Initrd)
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
	root     *os.Root
	order    Order
	handover []byte
}

// open reads the documents of dir.
func (s System) open(dir string) (*upload, error) {
	if err := checkFolder(dir); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	in := &upload{root: root}
	if err := in.read(); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return in, nil
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

func (u *upload) read() error {
	text, err := u.document(OrderFile)
	if err != nil {
		return err
	}
	if u.order, err = decodeOrder(text); err != nil {
		return err
	}
	if u.handover, err = u.document(HandoverFile); err != nil {
		return err
	}
	// The RAM system could not tell anybody that it is wrong.
	_, err = handover.Decode(strings.NewReader(string(u.handover)))
	return err
}

func (u *upload) document(name string) ([]byte, error) {
	f, err := u.root.Open(name)
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

func decodeOrder(text []byte) (Order, error) {
	var o Order
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&o); err != nil {
		return o, fmt.Errorf("decode %s: %w", OrderFile, err)
	}
	if err := o.Validate(); err != nil {
		return o, fmt.Errorf("decode %s: %w", OrderFile, err)
	}
	return o, nil
}

// Validate reports everything that is wrong, joined.
func (o Order) Validate() error {
	var errs []error
	if o.Version != Version {
		errs = append(errs, fmt.Errorf("version %d, this vic-env reads version %d", o.Version, Version))
	}
	for what, f := range map[string]File{"kernel": o.Kernel, "initrd": o.Initrd} {
		if f.Name == "" || f.Name != filepath.Base(f.Name) || f.Name == "." || f.Name == ".." {
			errs = append(errs, fmt.Errorf("%s: %q is no name of a file", what, f.Name))
		}
		if f.Size <= 0 {
			errs = append(errs, fmt.Errorf("%s: %d bytes", what, f.Size))
		}
		if sum, err := hex.DecodeString(f.SHA256); err != nil || len(sum) != sha256.Size {
			errs = append(errs, fmt.Errorf("%s: %q is no SHA-256", what, f.SHA256))
		}
	}
	if o.Kernel.Name == o.Initrd.Name {
		errs = append(errs, fmt.Errorf("kernel and initrd are both %q", o.Kernel.Name))
	}
	if strings.TrimSpace(o.Cmdline) == "" {
		errs = append(errs, errors.New("no kernel command line"))
	}
	return errors.Join(errs...)
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
