package enter

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/enter/order"
	"github.com/victorinix/vic/internal/handover"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
	"github.com/victorinix/vic/kexec"
)

// TestMain: this program is what replaces itself in TestRespawn.
func TestMain(m *testing.M) {
	if os.Getenv("VIC_TEST_RESPAWN") != "" {
		if os.Args[0] != spared {
			fmt.Println(respawn())
			os.Exit(1)
		}
		fmt.Println(os.Args)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// tools runs ssh-keygen, and answers for what this machine may not have.
type tools struct {
	answers map[string]string
	ran     []string
}

func (r *tools) Run(ctx context.Context, c tool.Cmd) (tool.Output, error) {
	r.ran = append(r.ran, c.String())
	if c.Name == "ssh-keygen" {
		return tool.Exec{}.Run(ctx, c)
	}
	answer, ok := r.answers[c.Name]
	if !ok {
		return tool.Output{}, &tool.Error{Cmd: c, Exit: -1, Err: tool.ErrNotFound}
	}
	return tool.Output{Stdout: []byte(answer)}, nil
}

func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// keygen makes a key, and returns its public half without the comment.
func keygen(t *testing.T, file string, args ...string) string {
	t.Helper()
	run := tooltest.Need(t, "ssh-keygen")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(args, "-N") {
		args = append(args, "-N", "")
	}
	if _, err := run.Run(t.Context(), tool.Cmd{Name: "ssh-keygen", Args: append([]string{"-q", "-f", file}, args...)}); err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(public))[:2], " ")
}

// loaded is what a kernel was given.
type loaded struct{ kernel, initrd, cmdline string }

// system is a machine with a host key, 256 MiB, and an upload that is right.
func system(t *testing.T) (s System, dir string, got *loaded, public string) {
	t.Helper()
	root := t.TempDir()
	write(t, root, map[string]string{
		"etc/machine-id":     "0123456789abcdef0123456789abcdef\n",
		"proc/meminfo":       "MemTotal:         223000 kB\nMemAvailable:     120000 kB\n",
		"proc/42/status":     "Name:\tvic-env\nPPid:\t1\n",
		"proc/1/status":      "Name:\tsystemd\nPPid:\t0\n",
		"run/systemd/system": "",
	})
	public = keygen(t, root+"/etc/ssh/ssh_host_ed25519_key", "-t", "ed25519")
	got = &loaded{}
	s = System{Tools: &tools{}, Root: root, PID: 42, Load: func(k kexec.Kernel) (kexec.Method, error) {
		for f, to := range map[*os.File]*string{k.Image: &got.kernel, k.Initrd: &got.initrd} {
			text, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
			if err != nil {
				return "", err
			}
			*to = string(text)
		}
		got.cmdline = k.Cmdline
		return kexec.FileLoad, nil
	}}
	return s, uploaded(t), got, public
}

const (
	kernelFile, startFile, initrdFile = "kernel-1", "start-0", "initrd-2"

	aKernel = "a kernel\n"
	aStart  = "what was there"
	anEnd   = "the end" // no multiple of 4
)

// anInitrd is larger than what is freed at once.
func anInitrd() string { return strings.Repeat("initrd\x00!", chunk/4) + anEnd }

func uploaded(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	document, err := json.Marshal(anOrder())
	if err != nil {
		t.Fatal(err)
	}
	var doc bytes.Buffer
	h := handover.Handover{Version: handover.Version, AuthorizedKeys: []string{"ssh-ed25519 AAAA a"}, Probation: 300, Port: 22}
	if err := h.Encode(&doc); err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string]string{order.Path: string(document), order.HandoverPath: doc.String(), kernelFile: aKernel, startFile: aStart, initrdFile: anInitrd()})
	return dir
}

func anOrder() order.Order {
	file := func(name, text string) order.File {
		return order.File{Name: name, Size: int64(len(text)), SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(text)))}
	}
	return order.Order{Version: order.Version, Kernel: file(kernelFile, aKernel), Initrd: []order.File{file(startFile, aStart), file(initrdFile, anInitrd())}, Cmdline: "console=ttyS0 quiet"}
}

func TestEnter(t *testing.T) {
	run := tooltest.Need(t, "cpio")
	s, dir, got, public := system(t)
	a, err := s.Enter(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if a.Loaded != string(kexec.FileLoad) || !slices.Equal(a.HostKeys, []string{public}) || a.NewHostKey || a.MachineID != "0123456789abcdef0123456789abcdef" || len(a.Warnings) > 0 {
		t.Errorf("%+v", a)
	}
	if got.kernel != aKernel || got.cmdline != "console=ttyS0 quiet" {
		t.Errorf("%.80q %q", got.kernel, got.cmdline)
	}
	segment, ok := strings.CutPrefix(got.initrd, aStart+anInitrd()+"\x00\x00\x00")
	if !ok || len(aStart+anInitrd()+"\x00\x00\x00")%4 != 0 {
		t.Fatalf("the initrd is another one: ...%q", got.initrd[max(0, len(got.initrd)-200):])
	}
	for _, name := range []string{kernelFile, startFile, initrdFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s still takes memory: %v", name, err)
		}
	}
	to := t.TempDir()
	if _, err := run.Run(t.Context(), tool.Cmd{Name: "cpio", Args: []string{"-id", "--quiet"}, Dir: to, Stdin: strings.NewReader(segment)}); err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		path, same string
		mode       fs.FileMode
	}{
		{"vic", "", fs.ModeDir | 0o755},
		{handover.Path, dir + "/" + order.HandoverPath, 0o600},
		{handover.KeyDir, "", fs.ModeDir | 0o700},
		{handover.KeyDir + "/ssh_host_ed25519_key", s.Root + "/etc/ssh/ssh_host_ed25519_key", 0o600},
	} {
		st, err := os.Stat(filepath.Join(to, f.path))
		if err != nil || st.Mode() != f.mode {
			t.Errorf("%s: %v %v", f.path, st, err)
			continue
		}
		if f.same != "" {
			want, err1 := os.ReadFile(f.same)
			have, err2 := os.ReadFile(filepath.Join(to, f.path))
			if err := errors.Join(err1, err2); err != nil || !bytes.Equal(want, have) {
				t.Errorf("%s: %q, want %q, %v", f.path, have, want, err)
			}
		}
	}
}

// What stands in the way is found before anything is loaded or consumed.
func TestEnterRefuses(t *testing.T) {
	ordered := func(change func(*order.Order)) func(*testing.T, *System, string) {
		return func(t *testing.T, _ *System, dir string) {
			o := anOrder()
			change(&o)
			text, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir, map[string]string{order.Path: string(text)})
		}
	}
	file := func(name, text string) func(*testing.T, *System, string) {
		return func(t *testing.T, _ *System, dir string) { write(t, dir, map[string]string{name: text}) }
	}
	for want, change := range map[string]func(t *testing.T, s *System, dir string){
		"only root":                          func(_ *testing.T, s *System, _ string) { s.UID = 1000 },
		"initrd-2 has 7 bytes of":            file(initrdFile, "initrd\x00"),
		"kernel-1 has 10 bytes, 9 were sent": file(kernelFile, aKernel+"\n"),
		"version 1 must be 2":                ordered(func(o *order.Order) { o.Version = 1 }),
		`"../kernel" is no name of a file`:   ordered(func(o *order.Order) { o.Kernel.Name = "../kernel" }),
		`"abc" is no SHA-256`:                ordered(func(o *order.Order) { o.Initrd[1].SHA256 = "abc" }),
		"no kernel command line":             ordered(func(o *order.Order) { o.Cmdline = " " }),
		"two files are \"initrd-2\"":         ordered(func(o *order.Order) { o.Initrd[0] = o.Initrd[1] }),
		"no initrd":                          ordered(func(o *order.Order) { o.Initrd = nil }),
		"unknown field":                      file(order.Path, `{"version":1,"more":2}`),
		"nobody could log in":                file(order.HandoverPath, `{"version":1}`),
		"larger than 1048576 bytes":          file(order.HandoverPath, strings.Repeat(" ", maxDocument+1)),
		"1 MiB of memory are available, and loading kernel and initrd takes 41 MiB": func(t *testing.T, s *System, _ string) {
			write(t, s.Root, map[string]string{"proc/meminfo": "MemAvailable: 2047 kB\n"})
		},
		"has no MemAvailable": func(t *testing.T, s *System, _ string) {
			write(t, s.Root, map[string]string{"proc/meminfo": "MemFree: 2047 kB\n"})
		},
		"enter alone": func(t *testing.T, _ *System, dir string) {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		},
		"no such file": func(t *testing.T, _ *System, dir string) {
			if err := os.Remove(dir + "/" + kernelFile); err != nil {
				t.Fatal(err)
			}
		},
	} {
		s, dir, got, _ := system(t)
		change(t, &s, dir)
		_, err := s.Enter(t.Context(), dir)
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want) || got.cmdline != "" {
			t.Errorf("%s: %v, loaded %+v", want, err, *got)
		}
		if _, err := os.Stat(dir + "/" + initrdFile); err != nil {
			t.Errorf("%s: %v", want, err)
		}
		_, err = os.Stat(dir + "/" + kernelFile)
		if wrong := strings.Contains(want, "were sent") || want == "no such file"; wrong != errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the kernel: %v", want, err)
		}
	}
}

func TestEnterDoesNotLoad(t *testing.T) {
	s, dir, _, _ := system(t)
	no := errors.New("locked down")
	s.Load = func(kexec.Kernel) (kexec.Method, error) { return "", no }
	if _, err := s.Enter(t.Context(), dir); !errors.Is(err, no) || errors.Is(err, ErrRefused) {
		t.Error(err)
	}
}

// A client whose connection broke gets the same answer.
func TestEnterAgain(t *testing.T) {
	s, dir, got, public := system(t)
	first, err := s.Enter(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	*got = loaded{}
	s.Loaded = func() (bool, error) { return true, nil }
	again, err := s.Enter(t.Context(), dir)
	if err != nil || !slices.Equal(again.HostKeys, []string{public}) || again.MachineID != first.MachineID || got.cmdline != "" {
		t.Errorf("%+v %v %+v", again, err, *got)
	}
	// The handover of another run is another question.
	doc, err := os.ReadFile(dir + "/" + order.HandoverPath)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string]string{order.HandoverPath: string(doc) + "\n"})
	if _, err := s.Enter(t.Context(), dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	write(t, dir, map[string]string{order.HandoverPath: string(doc)})
	// Another order, and one of which nothing is loaded any more, are carried out.
	s.Loaded = func() (bool, error) { return false, nil }
	if _, err := s.Enter(t.Context(), dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	s.Loaded = func() (bool, error) { return true, nil }
	write(t, dir, map[string]string{order.Path: "{}"})
	if _, err := s.Enter(t.Context(), dir); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
}

// Two at once: the second one has to wait for the first.
func TestEnterTwice(t *testing.T) {
	s, dir, _, _ := system(t)
	s.Loaded = func() (bool, error) { return true, nil }
	begun, goOn := make(chan struct{}), make(chan struct{})
	slow := s
	slow.Load = func(k kexec.Kernel) (kexec.Method, error) {
		close(begun)
		<-goOn
		return kexec.FileLoad, nil
	}
	errs := make(chan error, 2)
	go func() { _, err := slow.Enter(t.Context(), dir); errs <- err }()
	<-begun
	go func() { _, err := s.Enter(t.Context(), dir); errs <- err }()
	select {
	case err := <-errs:
		t.Errorf("one did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(goOn)
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// What is not what was sent is not loaded, and removed.
func TestTakeVerifies(t *testing.T) {
	dir := uploaded(t)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	u := &upload{root: root}
	write(t, dir, map[string]string{kernelFile: "A kernel\n"})
	if _, err := u.take("kernel", anOrder().Kernel); err == nil || !strings.Contains(err.Error(), "not what was sent") {
		t.Error(err)
	}
	write(t, dir, map[string]string{kernelFile: "a"})
	if _, err := u.take("kernel", anOrder().Kernel); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func TestCommandLine(t *testing.T) {
	for _, args := range [][]string{{}, {"a", "b"}, {"--leave", "a"}, {"--leave-in-background", "a"}, {"--what", "a"}} {
		var out, text strings.Builder
		if code := Main(t.Context(), nil, args, &out, &text); code != exitUsage || out.Len() > 0 || text.Len() == 0 {
			t.Errorf("%q: %d %q %q", args, code, out.String(), text.String())
		}
	}
	var out, text strings.Builder
	if code := Main(t.Context(), nil, []string{t.TempDir() + "/none", "--load-only"}, &out, &text); code != exitRefused || !strings.HasPrefix(text.String(), "vic-env enter: this system is not left") {
		t.Error(code, text.String())
	}
}

func TestRespawn(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "enter", "--leave")
	cmd.Env = append(os.Environ(), "VIC_TEST_RESPAWN=1")
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "[@vic-env enter --leave]\n" {
		t.Errorf("%q %v", out, err)
	}
}
