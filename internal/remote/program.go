package remote

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/victorinix/vic/internal/enter/order"
)

// Install copies vic-env to where the host has RAM for it, or another place that
// takes programs, and keeps it there until Discard.
func (s *Session) Install(ctx context.Context, program []byte) error {
	return s.install(ctx, program, shared)
}

func (s *Session) install(ctx context.Context, program []byte, whose string) error {
	f, unpack, err := s.packed(program)
	if err != nil {
		return err
	}
	p := unpacked{file: f, unpack: unpack, size: int64(len(program)), then: `rm -f "$f" "$f.pid"`}
	s.as, s.start = "", file{}
	if err := s.installed(ctx, p, anywhere, whose); err != nil {
		return fmt.Errorf("copy vic-env to %s: %w", s.host, err)
	}
	return nil
}

// unpacked is a program that comes in a file.
type unpacked struct {
	file
	unpack string // shell: from the file $f to standard output
	size   int64  // of the program
	then   string // shell, when it is there: $f is the file
}

// installed makes a program, unless an earlier run has left it.
func (s *Session) installed(ctx context.Context, p unpacked, where, whose string) error {
	if err := s.makeFolder(ctx, where, whose); err != nil {
		return err
	}
	to := s.path("vic-env-" + p.sha256[:16])
	out, err := s.again(ctx, "if [ -x "+quote(to)+" ]; then echo vic:there; fi", nil)
	if err != nil {
		return err
	}
	if !strings.Contains(string(out), "vic:there") {
		if err := s.checkRoom(ctx, []file{p.file, {name: "vic-env", size: p.size}}); err != nil {
			return err
		}
		if err := s.send(ctx, p.file, func(int64) {}); err != nil {
			return err
		}
		script := fmt.Sprintf(`umask 077; f=%s t=%s
{ [ -x "$t" ] || { %s >"$t.new" && [ "$(wc -c <"$t.new")" -eq %d ] && chmod 700 "$t.new" && mv "$t.new" "$t"; }; } && %s`,
			quote(s.path(p.name)), quote(to), p.unpack, p.size, p.then)
		if _, err := s.again(ctx, script, nil); err != nil {
			return fmt.Errorf("unpack it: %w", err)
		}
	}
	s.program = to
	return nil
}

// packed is the program as it is sent: compressed, where the host can unpack it.
func (s *Session) packed(program []byte) (f file, unpack string, err error) {
	if !s.machine.gzip {
		f, err = newFile("plain", bytes.NewReader(program), int64(len(program)))
		return f, `cat "$f"`, err
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(program); err != nil {
		return file{}, "", err
	}
	if err := w.Close(); err != nil {
		return file{}, "", err
	}
	f, err = newFile("packed", bytes.NewReader(b.Bytes()), int64(b.Len()))
	return f, `gzip -dc <"$f"`, err
}

// VicEnv runs what Install has copied, as root where that is possible, and returns
// its standard output.
func (s *Session) VicEnv(ctx context.Context, args ...string) ([]byte, error) {
	return s.asRoot(ctx, s.vicEnv(args...), nil)
}

// vicEnv is the command for it.
func (s *Session) vicEnv(args ...string) string {
	words := []string{quote(s.program)}
	if s.as != "" {
		words = append(words, quote(s.as))
	}
	for _, a := range args {
		words = append(words, quote(a))
	}
	return strings.Join(words, " ")
}

// Execute is Install, VicEnv and Discard, apart from what others have installed.
func (s *Session) Execute(ctx context.Context, program []byte, args ...string) ([]byte, error) {
	var out []byte
	err := s.install(ctx, program, private)
	if err == nil {
		out, err = s.VicEnv(ctx, args...)
	}
	return out, errors.Join(err, s.Discard(ctx))
}

// Bundle is the RAM system for a machine. Both files are read from their beginning.
type Bundle struct {
	Kernel   *os.File
	Initrd   *os.File
	Handover []byte // handover.Handover
	Cmdline  string // the whole kernel command line
}

// UploadBundle sends what Enter loads, after Install, into RAM. What an earlier run
// has sent is not sent again. progress is called from one goroutine at a time, with
// bytes. It returns how many bytes this session has sent in all.
func (s *Session) UploadBundle(ctx context.Context, b Bundle, progress func(done, total int64)) (sent int64, err error) {
	if err := s.makeFolder(ctx, ram, shared); err != nil {
		return 0, err
	}
	o := order.Order{Version: order.Version, Cmdline: b.Cmdline}
	kernel, err := wholeFile("kernel", b.Kernel)
	if err != nil {
		return 0, err
	}
	parts, err := s.initrdParts(b.Initrd)
	if err != nil {
		return 0, err
	}
	files := append([]file{kernel}, parts...)
	o.Kernel = kernel.ordered()
	for _, f := range parts {
		o.Initrd = append(o.Initrd, f.ordered())
	}
	if err := o.Validate(); err != nil {
		return 0, err
	}
	if err := s.upload(ctx, files, progress); err != nil {
		return s.Sent(), fmt.Errorf("upload to %s: %w", s.host, err)
	}
	text, err := json.Marshal(o)
	if err == nil {
		err = errors.Join(s.sendSmall(ctx, order.HandoverPath, b.Handover), s.sendSmall(ctx, order.Path, text))
	}
	if err != nil {
		return s.Sent(), fmt.Errorf("upload to %s: %w", s.host, err)
	}
	return s.Sent(), nil
}

func (s *Session) upload(ctx context.Context, files []file, progress func(done, total int64)) error {
	if err := s.keepOnly(ctx, files); err != nil {
		return err
	}
	if err := s.checkRoom(ctx, files); err != nil {
		return err
	}
	var total, done int64
	for _, f := range files {
		total += f.size
	}
	for _, f := range files {
		if err := s.send(ctx, f, func(n int64) { progress(done+n, total) }); err != nil {
			return err
		}
		done += f.size
	}
	return nil
}

// keepOnly removes what earlier runs have sent and this one does not need.
func (s *Session) keepOnly(ctx context.Context, files []file) error {
	keep := []string{quote(s.program)}
	for _, f := range files {
		keep = append(keep, quote(s.path(f.name)), quote(s.path(f.name+".pid")))
	}
	_, err := s.again(ctx, "for f in "+quote(s.folder)+`/*; do case $f in `+strings.Join(keep, "|")+`) ;; *) rm -f "$f";; esac; done`, nil)
	return err
}

// Enter has vic-env load what UploadBundle has sent, and end the running system. When
// it returns without an error, the connection is about to go.
func (s *Session) Enter(ctx context.Context) (order.Answer, error) {
	// On a slow machine this takes longer than ssh waits for a sign of life.
	out, err := s.again(ctx, s.vicEnv("enter", "--load-only", s.folder), nil)
	if err != nil {
		return order.Answer{}, err
	}
	var a, left order.Answer
	if err := json.Unmarshal(out, &a); err != nil {
		return a, fmt.Errorf("enter %s: vic-env answered %.200q: %w", s.host, out, err)
	}
	if len(a.HostKeys) == 0 {
		return a, fmt.Errorf("enter %s: vic-env tells no host keys of the RAM system", s.host)
	}
	// Who loses the connection now knows whom to expect, and it is not said twice:
	// the second time might come to the RAM system.
	out, err = s.VicEnv(ctx, "enter", "--leave")
	if IsLost(err) {
		return a, nil
	}
	if err == nil {
		err = json.Unmarshal(out, &left)
	}
	a.Warnings = append(a.Warnings, left.Warnings...)
	return a, err
}
