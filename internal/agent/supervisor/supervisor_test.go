package supervisor

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/agent/ramsys/reap"
	"github.com/victorinix/vic/internal/service"
)

// TestMain is also the built-in step of the tests.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "step" {
		if err := step(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Orphans come to this process, as they do to PID 1.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// step notifies and writes an output.
func step(args []string) error {
	own, err := Own()
	if err != nil {
		return err
	}
	if err := own.Set("args", strings.Join(args, " ")); err != nil {
		return err
	}
	if err := Notify(); err != nil {
		return err
	}
	time.Sleep(time.Hour)
	return nil
}

// reaper is the one of this process.
var reaper = sync.OnceValue(reap.New)

// bench is a supervisor at work on a graph.
type bench struct {
	t       *testing.T
	dir     string
	end     func()
	console *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// testCgroup is a folder of a cgroup2 file system to work in; "" where there is
// none.
func testCgroup(t *testing.T) string {
	t.Helper()
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(root + "/cgroup.controllers"); err != nil {
			continue
		}
		dir, err := os.MkdirTemp(root, "vic-test-")
		if err != nil {
			continue
		}
		t.Cleanup(func() {
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		})
		return dir
	}
	return ""
}

// begin runs services, each "sh -c SCRIPT", or a built-in step.
func begin(t *testing.T, cgroup string, services ...string) *bench {
	t.Helper()
	root := t.TempDir()
	graph := filepath.Join(root, "services.json")
	if err := os.WriteFile(graph, []byte(`{"version": 1, "services": [`+strings.Join(services, ",")+`]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, dir: filepath.Join(root, "run"), console: &syncBuffer{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, Config{Graph: graph, Dir: b.dir, Reaper: reaper(), Console: b.console, Cgroup: cgroup,
			Builtin: []string{os.Args[0], "step"}, Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "ROOT=" + root}})
	}()
	b.end = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Error("the supervisor does not end")
		}
	})
	t.Cleanup(func() {
		b.end()
		if t.Failed() {
			t.Log(b.console.String())
		}
	})
	return b
}

// await waits until all services are as the words say: "a=ready b=waiting".
func (b *bench) await(words string) service.Status {
	b.t.Helper()
	var got string
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		st, err := ReadStatus(b.dir)
		if err != nil {
			continue
		}
		var list []string
		for _, s := range st.Services {
			list = append(list, s.Name+"="+string(s.State))
		}
		slices.Sort(list)
		if got = strings.Join(list, " "); got == words {
			return st
		}
	}
	b.t.Fatalf("services are %s, want %s\n%s", got, words, b.console.String())
	return service.Status{}
}

func (b *bench) one(st service.Status, name string) service.ServiceStatus {
	b.t.Helper()
	for _, s := range st.Services {
		if s.Name == name {
			return s
		}
	}
	b.t.Fatalf("no service %s", name)
	return service.ServiceStatus{}
}

func (b *bench) log(name string) string {
	b.t.Helper()
	var out strings.Builder
	if err := Command(b.dir, []string{"log", name}, &out); err != nil {
		return err.Error() // so early, there may be none
	}
	return out.String()
}

// until waits for something else.
func (b *bench) until(what string, f func() bool) {
	b.t.Helper()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if f() {
			return
		}
	}
	b.t.Fatalf("%s does not happen\n%s", what, b.console.String())
}

func sh(name, script, more string) string {
	if more != "" {
		more = ", " + more
	}
	return fmt.Sprintf(`{"name": %q, "command": ["sh", "-c", %q]%s}`, name, script, more)
}

const writeOutput = `put() { echo "$2" > $VIC_OUTPUTS/.$1; mv $VIC_OUTPUTS/.$1 $VIC_OUTPUTS/$1; }; `

// TestGraph: outputs reach those that need them, changes run them again, and the
// end is in reverse.
func TestGraph(t *testing.T) {
	b := begin(t, testCgroup(t),
		sh("dhcp", writeOutput+`put address 10.0.0.2; trap 'echo dhcp >> $ROOT/ends; exit' TERM; while :; do [ -e $ROOT/new ] && put address "$(cat $ROOT/new)"; sleep 0.05; done`,
			`"outputs": ["address"], "ready": {"output": "address"}`),
		sh("lan", writeOutput+`put subnet "of $0"; echo "lan $0"`, `"needs": ["dhcp/address"], "outputs": ["subnet"], "ready": {"exit": true}`),
		sh("web", `echo "web on ${lan/subnet} $WHERE"; trap 'echo web >> $ROOT/ends; exit' TERM; while :; do sleep 0.05; done`,
			`"needs": ["lan/subnet"], "env": {"WHERE": "at ${lan/subnet}"}`))
	st := b.await("dhcp=ready lan=done web=ready")
	if got := b.one(st, "dhcp").Outputs["address"]; got != "10.0.0.2" {
		t.Errorf("address %q", got)
	}
	if err := os.WriteFile(filepath.Dir(b.dir)+"/new", []byte("10.9.9.9"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.until("the second run", func() bool {
		st, err := ReadStatus(b.dir)
		return err == nil && b.one(st, "web").Runs == 2 && b.one(st, "web").State == service.Running
	})
	st = b.await("dhcp=ready lan=done web=ready")
	if dhcp, lan := b.one(st, "dhcp"), b.one(st, "lan"); dhcp.Runs != 1 || lan.Runs != 2 || dhcp.Outputs["address"] != "10.9.9.9" {
		t.Errorf("dhcp %+v, lan %+v", dhcp, lan)
	}
	b.until("the log", func() bool { return strings.Count(b.log("web"), "web on of sh at of sh") == 2 })
	b.end()
	ends, err := os.ReadFile(filepath.Dir(b.dir) + "/ends")
	if err != nil || string(ends) != "web\nweb\ndhcp\n" {
		t.Errorf("ended in the order %q, %v", ends, err)
	}
}

// TestKilled: a process that is killed comes back, and what needs it, too. What
// it left running is gone.
func TestKilled(t *testing.T) {
	for name, cgroup := range map[string]string{"with control groups": testCgroup(t), "without": ""} {
		t.Run(name, func(t *testing.T) {
			if name != "without" && cgroup == "" {
				t.Skip("there is no cgroup2 file system that can be written to")
			}
			b := begin(t, cgroup,
				sh("a", `sleep 1000 & echo $! > $ROOT/child; wait`, ""),
				sh("b", `exec sleep 1000`, `"needs": ["a"]`))
			st := b.await("a=ready b=ready")
			b.until("the child", func() bool { _, err := os.Stat(filepath.Dir(b.dir) + "/child"); return err == nil })
			child := readInt(t, filepath.Dir(b.dir)+"/child")
			if err := unix.Kill(b.one(st, "a").PID, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			b.until("the second run", func() bool {
				st, err := ReadStatus(b.dir)
				return err == nil && b.one(st, "b").Runs == 2 && b.one(st, "b").State == service.Running
			})
			if unix.Kill(child, 0) == nil {
				t.Error("a child of the killed process still runs")
			}
			if log := b.log("a"); !strings.Contains(log, "ended by SIGKILL; it is started again in 1 s") {
				t.Errorf("log %s", log)
			}
		})
	}
}

func readInt(t *testing.T, path string) int {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestCrashLoop: what crashes at once, or is not even there, does not keep the
// machine busy, nor does an output that changes all the time.
func TestCrashLoop(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 3.5 s")
	}
	b := begin(t, "",
		sh("crash", `echo start >> $ROOT/starts; exit 3`, ""),
		`{"name": "gone", "command": ["/nowhere/program"]}`,
		sh("flap", writeOutput+`i=0; while :; do i=$((i+1)); put k $i; done`, `"outputs": ["k"], "ready": {"output": "k"}`),
		sh("user", `exec sleep 1000`, `"needs": ["flap/k"]`))
	time.Sleep(3500 * time.Millisecond)
	st, err := ReadStatus(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][2]int{"crash": {1, 3}, "gone": {1, 3}, "flap": {1, 1}, "user": {1, 4}} {
		if s := b.one(st, name); s.Runs < want[0] || s.Runs > want[1] {
			t.Errorf("%s was started %d times in 3.5 s, want %v", name, s.Runs, want)
		}
	}
	b.until("three failures", func() bool {
		st, err := ReadStatus(b.dir)
		crash, gone := b.one(st, "crash"), b.one(st, "gone")
		return err == nil && crash.Failures >= 3 && crash.State == service.InBackoff && crash.Reason == "ended with status 3" &&
			gone.Failures >= 3 && strings.Contains(gone.Reason, "no such file")
	})
}

// TestReadiness: every condition.
func TestReadiness(t *testing.T) {
	dir := t.TempDir()
	file, port := filepath.Join(dir, "file"), freePort(t)
	b := begin(t, "",
		sh("file", `sleep 0.2; touch `+file+`; exec sleep 1000`, fmt.Sprintf(`"ready": {"file": %q}`, file)),
		`{"name": "notify", "builtin": ["a", "b"], "outputs": ["args"], "ready": {"notify": true}}`,
		sh("tcp", fmt.Sprintf(`exec python3 -c 'import socket,time; s=socket.create_server(("127.0.0.1",%d)); time.sleep(1000)'`, port), fmt.Sprintf(`"ready": {"tcp": "127.0.0.1:%d"}`, port)),
		sh("udp", fmt.Sprintf(`exec python3 -c 'import socket,time; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(("",%d)); time.sleep(1000)'`, port), fmt.Sprintf(`"ready": {"udp": "127.0.0.1:%d"}`, port)),
		sh("never", `exec sleep 1000`, `"ready": {"file": "/nowhere/file", "within": "300ms"}, "restart": "never"`))
	st := b.await("file=ready never=failed notify=ready tcp=ready udp=ready")
	if got := b.one(st, "notify").Outputs["args"]; got != "a b" {
		t.Errorf("output %q", got)
	}
	if got := b.one(st, "never").Reason; got != "not ready within 300ms" {
		t.Errorf("reason %q", got)
	}
}

// TestDeaf: a service that does not listen is killed in time.
func TestDeaf(t *testing.T) {
	b := begin(t, testCgroup(t), sh("deaf", `trap '' TERM; echo deaf; while :; do sleep 0.1; done`, `"stop": "300ms"`))
	b.until("its word", func() bool { return strings.Contains(b.log("deaf"), "deaf") })
	began := time.Now()
	b.end()
	if took := time.Since(began); took < 300*time.Millisecond || took > 3*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestLeftovers: a supervisor that starts anew kills what the one before left.
func TestLeftovers(t *testing.T) {
	cgroup := testCgroup(t)
	if cgroup == "" {
		t.Skip("there is no cgroup2 file system that can be written to")
	}
	groups, err := openCgroups(cgroup)
	if err != nil {
		t.Fatal(err)
	}
	g, err := groups.make("a", 10)
	if err != nil {
		t.Fatal(err)
	}
	old := &supervisor{cfg: Config{Reaper: reaper()}, rings: map[string]*ring{"a": newRing(t.TempDir() + "/log")}, console: newConsole(nil)}
	p, err := old.spawn("/bin/sleep", []string{"sleep", "1000"}, nil, g, "a")
	if err != nil {
		t.Fatal(err)
	}
	b := begin(t, cgroup, sh("b", "exec sleep 1000", ""))
	b.await("b=ready")
	select {
	case status := <-p.Done():
		if status.Signal() != unix.SIGKILL {
			t.Errorf("ended with %v", status)
		}
	case <-time.After(5 * time.Second):
		t.Error("what was left runs on")
	}
}

func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	for doc, want := range map[string]string{
		`{"version": 1, "servces": []}`: `services.json: read services: line 1: unknown key "servces"; did you mean "services"?`,
		"":                              "line 1: EOF",
	} {
		path := filepath.Join(dir, "services.json")
		if err := os.WriteFile(path, []byte(doc), 0o644); err != nil {
			t.Fatal(err)
		}
		err := Run(t.Context(), Config{Graph: path, Dir: dir + "/run", Reaper: reaper()})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := Run(t.Context(), Config{Graph: dir + "/gone", Dir: dir + "/run", Reaper: reaper()}); err == nil {
		t.Error("runs a graph that is not there")
	}
}
