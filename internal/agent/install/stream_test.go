package install_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/victorinix/vic/internal/agent/install"
	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
)

// streamed makes the payload one that is received: "hello" comes.
func streamed(s *setup, sent string) {
	var steps []plan.Step
	for _, step := range s.Plan.Steps {
		switch a := step.Action.(type) {
		case plan.CheckPayload:
			continue
		case plan.CopyPayload:
			for _, action := range []plan.Action{
				plan.ReceivePayload{Path: "/.vic-payload", Size: 5}, plan.CheckPayload{Payload: a.Payload, Path: "/.vic-payload"},
				plan.CopyPayload{Payload: a.Payload, Path: "/.vic-payload"}, plan.RemovePayload{Path: "/.vic-payload"},
			} {
				steps = append(steps, plan.Step{Phase: step.Phase, Name: action.Kind(), Action: action})
			}
			continue
		}
		steps = append(steps, step)
	}
	s.Plan.Steps = steps
	s.Receive = func(_ context.Context, f *os.File, _ int64, progress func(int64)) error {
		_, err := f.WriteString(sent)
		progress(int64(len(sent)))
		return err
	}
}

func TestReceivedPayload(t *testing.T) {
	s := newSetup(t)
	streamed(s, "hello")
	file := filepath.Join(s.Root, ".vic-payload")
	must(t, os.Symlink("/etc/passwd", file)) // left over, and not to be followed
	receive := s.Receive
	s.Receive = func(ctx context.Context, f *os.File, size int64, progress func(int64)) error {
		if st, err := os.Lstat(file); err != nil || st.Mode() != 0o600 || size != 5 {
			t.Errorf("%v, %v, %d bytes", st, err, size)
		}
		return receive(ctx, f, size, progress)
	}
	if _, err := install.Run(t.Context(), s.Config); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(s.m.effects, "mount erofs "+file) {
		t.Errorf("it is not what was mounted: %q", s.m.effects)
	}
	requireGone(t, file)
	requireTarget(t, s.Root)
	requirePairs(t, s.events)
	for _, step := range []string{"receive-payload", "check-payload"} {
		if !slices.ContainsFunc(s.events, func(e event.Event) bool {
			return e.Step == step && e.State == event.Progress && e.Done == 5 && e.Total == 5
		}) {
			t.Errorf("%s tells no progress", step)
		}
	}
}

func requireGone(t *testing.T, file string) {
	t.Helper()
	if _, err := os.Lstat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", file, err)
	}
}

// What is wrong with what was received ends the run before it is copied, and
// does not stay.
func TestReceivedPayloadIsWrong(t *testing.T) {
	boom := errors.New("boom")
	for name, tt := range map[string]struct {
		sent string
		err  error
		want string
	}{
		"altered": {"jello", nil, "it was altered or damaged"},
		"short":   {"hell", nil, "expected 5 bytes, found 4"},
		"long":    {"hello!", nil, "expected 5 bytes, found 6"},
		"never":   {"he", boom, "boom"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t)
			streamed(s, tt.sent)
			receive := s.Receive
			s.Receive = func(ctx context.Context, f *os.File, size int64, progress func(int64)) error {
				return errors.Join(receive(ctx, f, size, progress), tt.err)
			}
			_, err := install.Run(t.Context(), s.Config)
			var e *install.Error
			if !errors.As(err, &e) || e.Exit != storage.ExitPartial || e.Phase != event.Copy || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v", err)
			}
			if tt.err == nil {
				requireGone(t, filepath.Join(s.Root, ".vic-payload"))
			}
			if slices.ContainsFunc(s.m.effects, func(e string) bool { return strings.HasPrefix(e, "mount erofs") }) || len(s.m.mounted) != 0 {
				t.Errorf("effects %q, mounted %v", s.m.effects, s.m.mounted)
			}
			// It is simply installed again.
			again := newSetup(t)
			again.Root = s.Root
			streamed(again, "hello")
			if _, err := install.Run(t.Context(), again.Config); err != nil {
				t.Error(err)
			}
			requireGone(t, filepath.Join(s.Root, ".vic-payload"))
		})
	}
}

func TestNobodySendsAPayload(t *testing.T) {
	s := newSetup(t)
	streamed(s, "hello")
	s.Receive = nil
	_, err := install.Run(t.Context(), s.Config)
	var e *install.Error
	if !errors.As(err, &e) || e.Exit != storage.ExitRefused || len(s.m.effects) > 0 {
		t.Errorf("got %v after %q", err, s.m.effects)
	}
}

// Somebody who has to agree is asked once, after everything is verified and
// before anything is written.
func TestProceed(t *testing.T) {
	s := newSetup(t)
	asked := 0
	s.Proceed = func(context.Context) error {
		asked++
		if len(s.m.effects) > 0 {
			t.Errorf("asked after %q", s.m.effects)
		}
		if last := s.events[len(s.events)-1]; last.Phase != event.Verify || last.State != event.Done || last.Step != "" {
			t.Errorf("asked after %+v", last)
		}
		return nil
	}
	s.Verified = func() {
		if last := s.events[len(s.events)-1]; asked > 0 || last.Phase != event.Verify || last.State != event.Done || last.Step == "" {
			t.Errorf("verified after %+v", last)
		}
	}
	if _, err := install.Run(t.Context(), s.Config); err != nil || asked != 1 {
		t.Errorf("asked %d times, %v", asked, err)
	}
	requirePairs(t, s.events)
}

func TestNoProceed(t *testing.T) {
	no := errors.New("no")
	for name, phases := range map[string][]event.Phase{"all": nil, "some": {event.Verify, event.Partition}, "without verify": {event.Partition}} {
		s := newSetup(t)
		s.Phases = phases
		s.Proceed = func(context.Context) error { return no }
		_, err := install.Run(t.Context(), s.Config)
		var e *install.Error
		if !errors.As(err, &e) || e.Exit != storage.ExitIntact || e.Phase != event.Verify || e.Step != "acknowledgement" || !errors.Is(err, no) {
			t.Errorf("%s: got %v", name, err)
		}
		if len(s.m.effects) != 0 {
			t.Errorf("%s: effects: %q", name, s.m.effects)
		}
		if last := s.events[len(s.events)-1]; last.State != event.Failed || last.Exit != 4 {
			t.Errorf("%s: last event %+v", name, last)
		}
	}
	s := newSetup(t)
	s.Phases = []event.Phase{event.Verify}
	s.Proceed = func(context.Context) error { return no }
	s.Verified = func() { t.Error("verified for nobody") }
	if _, err := install.Run(t.Context(), s.Config); err != nil {
		t.Errorf("asked for what writes nothing: %v", err)
	}
}

// hostKey is a private key as OpenSSH has it, and its public half.
func hostKey(t *testing.T) (private []byte, public string) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(nil)
	must(t, err)
	block, err := ssh.MarshalPrivateKey(key, "root@before")
	must(t, err)
	p, err := ssh.NewPublicKey(pub)
	must(t, err)
	return pem.EncodeToMemory(block), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(p)))
}

// asBefore has the host keys taken over from a directory.
func asBefore(s *setup, dir string) {
	s.HostKeys = dir
	for i, step := range s.Plan.Steps {
		if _, ok := step.Action.(plan.HostKeys); ok {
			s.Plan.Steps[i].Action = plan.HostKeys{AsBefore: true}
		}
	}
	s.Plan.Steps = slices.Insert(s.Plan.Steps, 0, plan.Step{Phase: event.Verify, Name: "host keys", Action: plan.CheckHostKeys{}})
}

func TestHostKeysAsBefore(t *testing.T) {
	s := newSetup(t)
	dir := t.TempDir()
	private, public := hostKey(t)
	must(t, os.WriteFile(filepath.Join(dir, "ssh_host_old_key"), private, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "authorized_keys"), []byte("no host key"), 0o600))
	asBefore(s, dir)
	res, err := install.Run(t.Context(), s.Config)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		content []byte
		mode    os.FileMode
	}{"ssh_host_old_key": {private, 0o600}, "ssh_host_old_key.pub": {[]byte(public + "\n"), 0o644}} {
		path := filepath.Join(s.Root, "etc/ssh", name)
		b, err := os.ReadFile(path)
		must(t, err)
		st, err := os.Stat(path)
		must(t, err)
		if !bytes.Equal(b, want.content) || st.Mode() != want.mode {
			t.Errorf("%s: %q, %v", name, b, st.Mode())
		}
	}
	requireGone(t, filepath.Join(s.Root, "etc/ssh/ssh_host_old"))
	requireGone(t, filepath.Join(s.Root, "etc/ssh/authorized_keys"))
	// What it did not have was made.
	if want := []string{"ssh-ed25519 AAAA", public}; !slices.Equal(res.HostKeys, want) {
		t.Errorf("got %q, want %q", res.HostKeys, want)
	}
	for _, e := range s.events {
		if strings.Contains(e.Message, "PRIVATE") {
			t.Errorf("a key is in an event: %+v", e)
		}
	}
}

func TestHostKeysThatAreNone(t *testing.T) {
	for name, tt := range map[string]struct{ content, want string }{
		"none":    {"", "none was handed over"},
		"garbage": {"secret bytes", "read SSH host key"},
	} {
		s := newSetup(t)
		dir := t.TempDir()
		if tt.content != "" {
			must(t, os.WriteFile(filepath.Join(dir, "ssh_host_rsa_key"), []byte(tt.content), 0o600))
		}
		asBefore(s, dir)
		_, err := install.Run(t.Context(), s.Config)
		var e *install.Error
		if !errors.As(err, &e) || e.Exit != storage.ExitRefused || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", name, err)
		}
		if len(s.m.effects) != 0 {
			t.Errorf("%s: effects: %q", name, s.m.effects)
		}
	}
}

// downloaded makes the payload one that is downloaded from url.
func downloaded(s *setup, url string) {
	streamed(s, "")
	s.Receive = nil
	for i, step := range s.Plan.Steps {
		if a, ok := step.Action.(plan.ReceivePayload); ok {
			s.Plan.Steps[i].Action = plan.DownloadPayload{Path: a.Path, URL: url, Size: a.Size}
		}
	}
	s.Plan.Steps = slices.Insert(s.Plan.Steps, 0, plan.Step{Phase: event.Verify, Name: "download", Action: plan.CheckDownload{URL: url, Size: 5}})
}

func TestDownloadedPayload(t *testing.T) {
	for name, tt := range map[string]struct {
		there string // when it is verified
		later string // when it is downloaded
		exit  int    // 0: it is installed
		want  string
	}{
		"right":   {"hello", "hello", 0, ""},
		"absent":  {"", "", storage.ExitIntact, "404 Not Found"},
		"short":   {"hell", "hell", storage.ExitIntact, "it has 4 bytes, expected 5"},
		"altered": {"hello", "jello", storage.ExitPartial, "it was altered or damaged"},
		"longer":  {"hello", "hello!", storage.ExitPartial, "more came"},
		"gone":    {"hello", "", storage.ExitPartial, "404 Not Found"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				content := tt.there
				if asked++; asked > 1 {
					content = tt.later
				}
				if content == "" {
					http.NotFound(w, r)
					return
				}
				http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
			}))
			defer server.Close()
			s := newSetup(t)
			downloaded(s, server.URL)
			_, err := install.Run(t.Context(), s.Config)
			var e *install.Error
			switch {
			case tt.exit == 0 && err != nil:
				t.Error(err)
			case tt.exit != 0 && (!errors.As(err, &e) || e.Exit != tt.exit || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q and exit code %d", err, tt.want, tt.exit)
			}
			if tt.exit == storage.ExitIntact && len(s.m.effects) > 0 {
				t.Errorf("effects: %q", s.m.effects)
			}
			if tt.exit == 0 {
				requireTarget(t, s.Root)
				requireGone(t, filepath.Join(s.Root, ".vic-payload"))
			}
		})
	}
}
