package supervisor

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// TestRing: a log keeps its last lines, whatever its length.
func TestRing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	r := newRing(path)
	defer r.close()
	for i := range 20000 {
		r.line(fmt.Sprint("line ", i))
	}
	var size int64
	for _, suffix := range []string{"", oldSuffix} {
		st, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		size += st.Size()
	}
	if size > 2*ringSize || size < ringSize {
		t.Errorf("%d bytes", size)
	}
	b, err := os.ReadFile(path)
	if err != nil || !strings.HasSuffix(string(b), " line 19999\n") {
		t.Errorf("%v: ends with %q", err, b[max(0, len(b)-40):])
	}
}

// stuck takes nothing.
type stuck struct{ until chan struct{} }

func (s stuck) Write(p []byte) (int, error) { <-s.until; return len(p), nil }

// TestStuckConsole: nobody waits for a console, and what was dropped is counted.
func TestStuckConsole(t *testing.T) {
	s := stuck{make(chan struct{})}
	var seen strings.Builder
	c := newConsole(io.MultiWriter(s, &seen))
	for i := range 2 * waiting {
		c.printf("%d\n", i)
	}
	close(s.until)
	for len(c.lines) > 0 {
	}
	c.printf("last\n")
	c.close()
	if !strings.Contains(seen.String(), " lines were not shown\nlast\n") {
		t.Errorf("seen %q", seen.String())
	}
}

func TestUDPSockets(t *testing.T) {
	got := udpSockets("  sl  local_address rem_address   st\n 7: 0100007F:0035 00000000:0000 07\n" +
		"  1: 00000000000000000000000001000000:0043 0:0 07\n bad\n 2: xx:yy\n 3: 00000000:FFFFF\n")
	want := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53"), netip.MustParseAddrPort("[::1]:67")}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func FuzzUDPSockets(f *testing.F) {
	f.Add("  7: 0100007F:0035 00000000:0000 07")
	f.Fuzz(func(t *testing.T, text string) { udpSockets(text) })
}

func FuzzInotifyEvents(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00address\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) { inotifyEvents(b) })
}

// TestOutputs: what is set can be read, and a value that is the same is not
// written again.
func TestOutputs(t *testing.T) {
	o := Outputs(t.TempDir())
	if _, there, err := o.Get("k"); there || err != nil {
		t.Fatal(there, err)
	}
	for _, v := range []string{"1", "", "two\nlines", "two\nlines\n"} {
		if err := o.Set("k", v); err != nil {
			t.Fatal(err)
		}
		if got, there, err := o.Get("k"); got != v || !there || err != nil {
			t.Errorf("set %q, got %q %v %v", v, got, there, err)
		}
	}
	before, err := os.Stat(string(o) + "/k")
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Set("k", "two\nlines\n"); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(string(o) + "/k"); err != nil || !os.SameFile(before, after) {
		t.Error("written again", err)
	}
	if err := os.WriteFile(string(o)+"/big", make([]byte, maxOutput+1), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := o.Get("big"); err == nil {
		t.Error("read an output that is too large")
	}
	if err := o.Delete("k"); err != nil {
		t.Fatal(err)
	}
	if err := o.Delete("k"); err != nil {
		t.Fatal(err)
	}
}

func TestCommand(t *testing.T) {
	dir := t.TempDir()
	var out strings.Builder
	if err := Command(dir, nil, &out); err == nil || !strings.Contains(err.Error(), "none run on this machine") {
		t.Errorf("got %v", err)
	}
	state := `{"version": 1, "services": [
		{"name": "dhcp", "state": "backoff", "since": 1.5, "runs": 3, "reason": "ended with status 1", "needs": [], "outputs": {}},
		{"name": "lan", "state": "done", "since": 2, "runs": 1, "needs": ["dhcp/address"], "outputs": {"b": "x\ny", "a": "1"}}]}`
	if err := os.WriteFile(filepath.Join(dir, stateName), []byte(state), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Command(dir, nil, &out); err != nil {
		t.Fatal(err)
	}
	want := "SERVICE  STATE                          SINCE  RUNS  NEEDS         OUTPUTS\n" +
		"dhcp     backoff (ended with status 1)  1.5    3                   \n" +
		"lan      done                           2.0    1     dhcp/address  a=1 b=x,y\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	for args, want := range map[string]string{
		"log dhpc": `there is no service "dhpc"; did you mean "dhcp"?`,
		"lgo":      `unknown argument "lgo"; did you mean "log"?`,
		"a b c":    "cannot do",
	} {
		if err := Command(dir, strings.Fields(args), &out); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", args, err)
		}
	}
	out.Reset()
	if err := Command(dir, []string{"--help"}, &out); err != nil || !strings.Contains(out.String(), "example: vic-init services log dnsmasq") {
		t.Error(err, out.String())
	}
	out.Reset()
	if err := Command(dir, []string{"--json"}, &out); err != nil || !strings.Contains(out.String(), `"reason": "ended with status 1"`) {
		t.Error(err, out.String())
	}
}
