package accesspoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/accesspoint"
	"github.com/victorinix/vic/internal/agent/supervisor"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// TestRealSupplicant speaks with wpa_supplicant itself, which has a cable for a
// radio: its commands and its events.
func TestRealSupplicant(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	tooltest.Need(t, "ip", "wpa_supplicant")
	n := &testNet{t: t, dir: t.TempDir()}
	n.run("", "ip", "netns", "add", n.ns("sup"))
	t.Cleanup(func() { n.run("", "ip", "netns", "del", n.ns("sup")) })
	n.run("sup", "ip", "link", "add", "card0", "type", "veth", "peer", "name", "other0")
	conf := "ctrl_interface=" + n.dir + "/control\nap_scan=0\nnetwork={\n\tkey_mgmt=IEEE8021X\n\teap=PEAP\n\tidentity=\"x\"\n\tpassword=\"x\"\n}\n"
	if err := os.WriteFile(n.dir+"/conf", []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := n.background("sup", "wpa_supplicant", "-D", "wired", "-i", "card0", "-c", n.dir+"/conf")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := awaitSupplicant(ctx, n.dir+"/commands", socketIn(n.dir+"/control", "card0"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if status, err := s.ask("STATUS"); err != nil || values(status)["wpa_state"] == "" {
		t.Errorf("status %q %v", status, err)
	}
	lines := make(chan string, 64)
	events, err := awaitSupplicant(ctx, n.dir+"/events", socketIn(n.dir+"/control", "card0"))
	if err != nil {
		t.Fatal(err)
	}
	defer events.close()
	if err := events.attach(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = events.follow(ctx, func(line string) { lines <- line }) }()
	if err := unix.Kill(cmd.Process.Pid, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for {
		select {
		case line := <-lines:
			if strings.Contains(line, "CTRL-EVENT-TERMINATING") {
				return
			}
		case <-ctx.Done():
			t.Fatal("no event about its end")
		}
	}
}

// fakeSupplicant answers commands, and sends events when a test says so.
type fakeSupplicant struct {
	conn *net.UnixConn

	mu       sync.Mutex
	attached []*net.UnixAddr
	asked    []string // what is to do something
}

func newFakeSupplicant(t *testing.T, path string) *fakeSupplicant {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeSupplicant{conn: conn}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			k, from, err := conn.ReadFromUnix(buf)
			if err != nil {
				return
			}
			command := string(buf[:k])
			answer, known := map[string]string{"PING": "PONG\n", "SIGNAL_POLL": "RSSI=-42\nLINKSPEED=54\n"}[command]
			if !known {
				answer = "OK\n"
				f.mu.Lock()
				if command == "ATTACH" {
					f.attached = append(f.attached, from)
				} else {
					f.asked = append(f.asked, command)
				}
				f.mu.Unlock()
			}
			_, _ = conn.WriteToUnix([]byte(answer), from) // whoever asked may have gone
		}
	}()
	return f
}

func (f *fakeSupplicant) send(t *testing.T, line string) {
	t.Helper()
	eventually(t, "somebody attaches", func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.attached) == 0 {
			return errors.New("nobody has")
		}
		for _, to := range f.attached {
			if _, err := f.conn.WriteToUnix([]byte("<3>"+line), to); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestListen: what wpa_supplicant says becomes outputs.
func TestListen(t *testing.T) {
	dir := t.TempDir()
	f := newFakeSupplicant(t, dir+"/control/wlan0")
	a := appliance{own: supervisor.Outputs(t.TempDir())}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.listen(ctx, dir, "wlan0") }()
	await := func(key, want string) {
		t.Helper()
		eventually(t, key+" "+want, func() error {
			got, _, err := a.own.Get(key)
			if err == nil && got != want {
				err = fmt.Errorf("it is %q", got)
			}
			return err
		})
	}
	await("state", accesspoint.Searching)
	f.send(t, "CTRL-EVENT-NETWORK-NOT-FOUND ") // at the likely frequencies
	eventually(t, "it looks everywhere", func() error { return f.wasAsked("SELECT_NETWORK 0 freq="+likely, "SCAN") })
	await("state", accesspoint.Searching)
	f.send(t, "CTRL-EVENT-NETWORK-NOT-FOUND ")
	await("state", accesspoint.NotFound)
	f.send(t, "CTRL-EVENT-CONNECTED - Connection to 02:00:00:00:01:00 completed [id=0 id_str=]")
	await("state", accesspoint.Connected)
	await("associated", "wlan0")
	await("signal", "-42")
	await("bssid", "02:00:00:00:01:00")
	f.send(t, "CTRL-EVENT-DISCONNECTED bssid=02:00:00:00:01:00 reason=3")
	await("associated", "")
	f.send(t, `CTRL-EVENT-SSID-TEMP-DISABLED id=0 ssid="x" auth_failures=1 duration=10 reason=WRONG_KEY`)
	await("state", accesspoint.WrongKey)
	await("why", "the password is wrong")
	await("signal", "")
	cancel()
	if err := <-done; err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// wasAsked is an error unless these commands came, and no others.
func (f *fakeSupplicant) wasAsked(want ...string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(f.asked, want) {
		return fmt.Errorf("it was asked for %q, want %q", f.asked, want)
	}
	return nil
}

// TestSearch: a network that was found where most are is looked for everywhere once,
// when it has been used for a while.
func TestSearch(t *testing.T) {
	dir := t.TempDir()
	f := newFakeSupplicant(t, dir+"/control/wlan0")
	commands, err := awaitSupplicant(t.Context(), dir+"/commands", dir+"/control/wlan0")
	if err != nil {
		t.Fatal(err)
	}
	defer commands.close()
	s, err := newSearch(commands)
	if err != nil {
		t.Fatal(err)
	}
	defer s.later.Stop()
	first := "SELECT_NETWORK 0 freq=" + likely
	if s.event("<3>CTRL-EVENT-CONNECTED - Connection to 02:00:00:00:01:00 completed [id=0 id_str=]") || !s.later.Stop() {
		t.Error("connected: nothing is to come")
	}
	s.everywhere()
	if err := f.wasAsked(first, "SCAN"); err != nil {
		t.Error(err)
	}
	for _, line := range []string{"CTRL-EVENT-CONNECTED ", "CTRL-EVENT-NETWORK-NOT-FOUND ", "CTRL-EVENT-DISCONNECTED "} {
		if s.event("<3>"+line) || s.later.Stop() {
			t.Errorf("%s: it looks everywhere a second time", line)
		}
	}

	again, err := newSearch(commands)
	if err != nil {
		t.Fatal(err)
	}
	defer again.later.Stop()
	again.event("<3>CTRL-EVENT-CONNECTED ")
	if again.event("<3>CTRL-EVENT-DISCONNECTED "); again.later.Stop() {
		t.Error("a network that is lost is looked for by wpa_supplicant itself")
	}
	if err := f.wasAsked(first, "SCAN", first); err != nil {
		t.Error(err)
	}
}

// TestUnblock writes what the kernel takes for "all radios on".
func TestUnblock(t *testing.T) {
	path := t.TempDir() + "/rfkill"
	if err := unblock(path); err != nil {
		t.Errorf("a machine without switches: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unblock(path); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "\x00\x00\x00\x00\x00\x03\x00\x00" {
		t.Errorf("wrote %q %v", b, err)
	}
}
