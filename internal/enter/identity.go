package enter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/victorinix/vic/internal/tool"
)

// identity is by what the machine is known.
type identity struct {
	keys     []hostKey
	made     bool // the key is a new one
	machine  string
	warnings []string
}

// hostKey is an SSH host key in a file.
type hostKey struct {
	name    string // in handover.KeyDir
	private []byte // the file
	public  string // "ssh-ed25519 AAAA..."
}

// identity collects the host keys that the SSH server offers. Of those that
// cannot be handed over it says why.
func (s System) identity(ctx context.Context) (identity, error) {
	machine, err := s.machineID()
	if err != nil {
		return identity{}, err
	}
	id := identity{machine: machine}
	files, err := s.keyFiles(ctx)
	if err != nil {
		return identity{}, err
	}
	for _, file := range files {
		k, err := s.hostKey(ctx, file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			// The server's defaults are three files, of which any may be there.
		case err != nil:
			id.warnings = append(id.warnings, fmt.Sprintf("SSH host key %s is not handed over: %v", file, err))
		case !slices.ContainsFunc(id.keys, func(other hostKey) bool { return other.name == k.name }):
			id.keys = append(id.keys, k)
		}
	}
	if len(id.keys) > 0 {
		return id, nil
	}
	k, err := newHostKey()
	if err != nil {
		return identity{}, err
	}
	id.keys, id.made = []hostKey{k}, true
	id.warnings = append(id.warnings, "no SSH host key of OpenSSH is here: the RAM system gets a new one")
	return id, nil
}

// keyFiles are the host keys that OpenSSH's server is configured with, and those
// at the usual place where it cannot be asked: where another server runs, or one
// that does not like its configuration any more.
func (s System) keyFiles(ctx context.Context) ([]string, error) {
	server, err := s.server()
	if err != nil {
		return nil, err
	}
	out, err := s.Tools.Run(ctx, server)
	var files []string
	if err == nil {
		files = hostKeyLines(string(out.Stdout))
	}
	if len(files) > 0 {
		return files, nil
	}
	files, err = filepath.Glob(s.Root + "/etc/ssh/ssh_host_*_key")
	for i, f := range files {
		files[i] = strings.TrimPrefix(f, s.Root)
	}
	return files, err
}

// hostKeyLines reads what `sshd -T` prints: keywords in lower case, one a line.
func hostKeyLines(text string) []string {
	var files []string
	for line := range strings.Lines(text) {
		if file, ok := strings.CutPrefix(strings.TrimSpace(line), "hostkey "); ok {
			files = append(files, file)
		}
	}
	return files
}

// server is the command that asks the OpenSSH server that this program's session
// came through. It need not be in a usual place.
func (s System) server() (tool.Cmd, error) {
	ask := tool.Cmd{Name: "sshd", Args: []string{"-T"}}
	for pid := s.PID; pid > 1; {
		dir := s.Root + "/proc/" + strconv.Itoa(pid)
		// After an update of the package, the file is another one by the same name.
		exe, err := os.Readlink(dir + "/exe")
		if exe = strings.TrimSuffix(exe, " (deleted)"); err == nil && filepath.Base(exe) == "sshd" {
			cmdline, err := os.ReadFile(dir + "/cmdline")
			if err != nil {
				return ask, fmt.Errorf("look for the SSH server: %w", err)
			}
			ask = tool.Cmd{Name: exe, Args: append([]string{"-T"}, serverOptions(string(cmdline))...)}
		}
		status, err := os.ReadFile(dir + "/status")
		if errors.Is(err, fs.ErrNotExist) {
			break // hidden from this program, or gone
		}
		if err != nil {
			return ask, fmt.Errorf("look for the SSH server: %w", err)
		}
		if pid, err = parent(string(status)); err != nil {
			return ask, fmt.Errorf("look for the SSH server: %s/status: %w", dir, err)
		}
	}
	return ask, nil
}

// serverOptions are those of sshd(8) that say where its host keys are, from the
// command line of the one that listens. It writes a title over that:
//
//	sshd: /usr/sbin/sshd -D -f /etc/ssh/other [listener] 0 of 10-100 startups
func serverOptions(cmdline string) []string {
	words := strings.Split(cmdline, "\x00")
	if title, ok := strings.CutPrefix(cmdline, "sshd: "); ok {
		title, _, ok = strings.Cut(title, " [listener]")
		if !ok {
			return nil // it serves a session
		}
		words = strings.Fields(title)
	}
	var options []string
	for i, w := range words {
		flag := w[:min(2, len(w))]
		switch {
		case i == 0 || flag != "-f" && flag != "-h" && flag != "-o":
		case len(w) > 2:
			options = append(options, w)
		case i+1 < len(words):
			options = append(options, w, words[i+1])
		}
	}
	return options
}

// parent reads PPid of proc_pid_status(5).
func parent(status string) (int, error) {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, "PPid:"); ok {
			return strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return 0, errors.New("it has no PPid")
}

// maxKey bounds a key's file: RSA of 16384 bits takes 13 KiB.
const maxKey = 64 << 10

// hostKey reads one file.
func (s System) hostKey(ctx context.Context, file string) (hostKey, error) {
	f, err := os.Open(s.Root + file)
	if err != nil {
		return hostKey{}, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return hostKey{}, errors.Join(err, errors.New("no regular file"))
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKey+1))
	if err != nil {
		return hostKey{}, err
	}
	if len(text) > maxKey {
		return hostKey{}, fmt.Errorf("larger than %d bytes", maxKey)
	}
	public, err := publicKey(text)
	if errors.Is(err, errOtherFormat) {
		// Keys that were made before OpenSSH 7.8. An empty passphrase is no secret.
		out, keygenErr := s.Tools.Run(ctx, tool.Cmd{Name: "ssh-keygen", Args: []string{"-y", "-P", "", "-f", s.Root + file}})
		if keygenErr != nil {
			return hostKey{}, keygenErr
		}
		public, err = withoutComment(string(out.Stdout))
	}
	if err != nil {
		return hostKey{}, err
	}
	name, err := keyName(public)
	return hostKey{name: name, private: text, public: public}, err
}

// keyName is the usual name of the file for a key of its type.
func keyName(public string) (string, error) {
	kind, _, _ := strings.Cut(public, " ")
	switch {
	case kind == "ssh-ed25519":
		return "ssh_host_ed25519_key", nil
	case kind == "ssh-rsa":
		return "ssh_host_rsa_key", nil
	case strings.HasPrefix(kind, "ecdsa-sha2-nistp"):
		return "ssh_host_ecdsa_key", nil
	}
	return "", fmt.Errorf("the RAM system knows no keys of the type %s", kind)
}
