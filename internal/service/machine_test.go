package service

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// graph reads "name: need need/key; name2: ..." with options behind a bar:
// "dhcp: wifi | out=address ready=address oneshot never within=5s after=x".
func graph(t *testing.T, text string) Graph {
	t.Helper()
	g := Graph{Version: Version}
	for part := range strings.SplitSeq(text, ";") {
		head, options, _ := strings.Cut(part, "|")
		name, needs, _ := strings.Cut(head, ":")
		s := Service{Name: strings.TrimSpace(name), Command: []string{"x"}, Needs: strings.Fields(needs)}
		for o := range strings.FieldsSeq(options) {
			key, value, _ := strings.Cut(o, "=")
			switch key {
			case "out":
				s.Outputs = strings.Split(value, ",")
			case "ready":
				s.Ready = &Ready{Output: value}
			case "notify":
				s.Ready = &Ready{Notify: true}
			case "oneshot":
				s.Ready = &Ready{Exit: true}
			case "never":
				s.Restart = RestartNever
			case "after":
				s.After = strings.Split(value, ",")
			case "within":
				d, err := time.ParseDuration(value)
				if err != nil {
					t.Fatal(err)
				}
				s.Ready.Within = Duration(d)
			default:
				t.Fatalf("option %q", o)
			}
		}
		g.Services = append(g.Services, s.filled())
	}
	if err := g.Validate(); err != nil {
		t.Fatal(err)
	}
	return g
}

// play applies a script to a machine, and returns what it did. Words are
// separated by spaces:
//
//	+SECONDS     time passes, with the ticks that are due
//	NAME.up      its process is there     NAME.ready  its condition is true
//	NAME.ok      it ended with 0          NAME.dead   it ended otherwise
//	NAME/K=V     an output                NAME/K      it is gone
//	end          shutdown
func play(t *testing.T, m *Machine, script string) string {
	t.Helper()
	var did []string
	now := time.Duration(0)
	note := func(actions []Action) {
		for _, a := range actions {
			did = append(did, fmt.Sprintf("%v:%s:%s", now.Seconds(), a.Do, a.Service))
		}
	}
	note(m.Begin(now))
	for word := range strings.FieldsSeq(script) {
		name, verb, _ := strings.Cut(word, ".")
		out, value, has := strings.Cut(word, "=")
		service, key, isOutput := strings.Cut(out, "/")
		run := func(name string) int {
			if m.byName[name] == nil {
				t.Fatalf("no service %q in %q", name, word)
			}
			return m.byName[name].run
		}
		switch {
		case strings.HasPrefix(word, "+"):
			d, err := time.ParseDuration(word[1:] + "s")
			if err != nil {
				t.Fatal(err)
			}
			for end := now + d; ; {
				at, ok := m.Next()
				if !ok || at > end {
					now = end
					break
				}
				now = max(now, at)
				note(m.Tick(now))
			}
		case word == "end":
			note(m.Shutdown(now))
		case isOutput:
			note(m.Output(now, service, run(service), key, value, has))
		case verb == "up":
			note(m.Started(now, name, run(name), 7))
		case verb == "ready":
			note(m.Ready(now, name, run(name)))
		case verb == "ok", verb == "dead":
			note(m.Exited(now, name, run(name), verb == "ok", verb))
		default:
			t.Fatalf("word %q", word)
		}
	}
	return strings.Join(did, " ")
}

func TestMachine(t *testing.T) {
	const router = "dhcp: | out=address ready=address; lan: dhcp/address | oneshot out=subnet; dns: lan/subnet"
	for name, tt := range map[string]struct{ graph, script, want, states string }{
		"alone":                   {"a:", "a.up", "0:start:a", "a=ready"},
		"a user waits":            {"a: | notify; b: a", "a.up +5 a.ready b.up", "0:start:a 5:start:b", "a=ready b=ready"},
		"an output is waited for": {router, "dhcp.up +3 dhcp/address=1 lan.up", "0:start:dhcp 3:start:lan", "dhcp=ready lan=starting dns=waiting(lan/subnet)"},
		"all of it":               {router, "dhcp.up dhcp/address=1 lan.up lan/subnet=s lan.ok dns.up", "0:start:dhcp 0:start:lan 0:start:dns", "dhcp=ready lan=done dns=ready"},
		"a changed output runs users again, the last user stops first": {router,
			"dhcp.up dhcp/address=1 lan.up lan/subnet=s lan.ok dns.up +9 dhcp/address=2 +1 dns.ok lan.up lan/subnet=s2 lan.ok dns.up",
			"0:start:dhcp 0:start:lan 0:start:dns 9:terminate:dns 10:clear:lan 10:start:lan 10:start:dns", "dhcp=ready lan=done dns=ready"},
		"the same value is no change": {router, "dhcp.up dhcp/address=1 lan.up lan/subnet=s lan.ok dns.up +9 dhcp/address=1",
			"0:start:dhcp 0:start:lan 0:start:dns", "dhcp=ready lan=done dns=ready"},
		"an output that goes stops users": {router, "dhcp.up dhcp/address=1 lan.up lan/subnet=s lan.ok dns.up +9 dhcp/address dns.ok +5 dhcp/address=1",
			"0:start:dhcp 0:start:lan 0:start:dns 9:terminate:dns 9:clear:lan 14:start:lan", "dhcp=ready lan=starting dns=waiting(lan/subnet)"},
		"a crash backs off, and stops users": {"a:; b: a", "a.up b.up +5 a.dead b.dead +10 a.up b.up",
			"0:start:a 0:start:b 5:terminate:b 6:start:a 15:start:b", "a=ready b=ready"},
		"a crash loop": {"a: | notify", "a.up a.dead +1 a.up a.dead +2 a.dead +4 a.dead +8 a.dead +16 a.dead +30 a.dead +30",
			"0:start:a 1:start:a 3:start:a 7:start:a 15:start:a 31:start:a 61:start:a 91:start:a", "a=starting"},
		"long enough ready, and the back-off begins anew": {"a:", "a.up a.dead +1 a.up a.dead +2 a.up +30 a.dead +1",
			"0:start:a 1:start:a 3:start:a 34:start:a", "a=starting"},
		"not long enough": {"a:", "a.up a.dead +1 a.up a.dead +2 a.up +29 a.dead +4",
			"0:start:a 1:start:a 3:start:a 36:start:a", "a=starting"},
		"a daemon that ends with 0 is started again": {"a:", "a.up +10 a.ok +1", "0:start:a 11:start:a", "a=starting"},
		"never again":                           {"a: | never; b: a; c: | after=a", "a.up b.up c.up a.dead b.ok +100", "0:start:a 0:start:b 0:start:c 0:terminate:b", "a=failed(dead) b=waiting(a) c=ready"},
		"a one-shot is tried until it succeeds": {"a: | oneshot", "a.dead +1 a.dead +2 a.ok +100", "0:start:a 1:start:a 3:start:a", "a=done"},
		"after does not need":                   {"a: | notify; b: | after=a", "a.up +3 a.ready b.up a.dead", "0:start:a 3:start:b", "a=backoff(dead) b=ready"},
		"after goes on after a failure":         {"a: | notify; b: | after=a", "a.up +3 a.dead b.up", "0:start:a 3:start:b", "a=backoff(dead) b=ready"},
		"after waits":                           {"a: | notify; b: | after=a", "a.up +300", "0:start:a", "a=starting b=waiting(a)"},
		"overdue":                               {"a: | notify within=5s", "a.up +5 a.ok +1", "0:start:a 5:terminate:a 6:start:a", "a=starting"},
		"overdue and deaf":                      {"a: | notify within=5s", "a.up +11 a.dead", "0:start:a 5:terminate:a 10:kill:a", "a=backoff(not ready within 5s)"},
		"ready in time":                         {"a: | notify within=5s", "a.up +4 a.ready +100", "0:start:a", "a=ready"},
		"ready too late is not ready":           {"a: | notify within=5s", "a.up +5 a.ready", "0:start:a 5:terminate:a", "a=stopping"},
		"flapping is bounded": {"a: | out=k ready=k; b: a/k", "a.up a/k=1 b.up a/k=2 b.ok a/k=3 +0.5 a/k=4 +0.5 b.up a/k=5 b.ok",
			"0:start:a 0:start:b 0:terminate:b 1:start:b 1:terminate:b", "a=ready b=waiting"},
		"a change while stopping is the next start's": {"a: | out=k ready=k; b: a/k", "a.up a/k=1 b.up +5 a/k=2 a/k=1 b.ok", "0:start:a 0:start:b 5:terminate:b 5:start:b", "a=ready b=starting"},
		"two users, one is slow": {"x: | out=k ready=k; a: x/k; b: a; c: a", "x.up x/k=1 a.up b.up c.up +5 x/k=2 b.ok +1 c.ok a.ok a.up b.up c.up",
			"0:start:x 0:start:a 0:start:b 0:start:c 5:terminate:b 5:terminate:c 6:terminate:a 6:start:a 6:start:b 6:start:c", "x=ready a=ready b=ready c=ready"},
		"the end is in reverse": {router + "; log: | after=dns", "dhcp.up dhcp/address=1 lan.up lan/subnet=s lan.ok dns.up log.up end log.ok dns.ok dhcp.ok",
			"0:start:dhcp 0:start:lan 0:start:dns 0:start:log 0:terminate:log 0:terminate:dns 0:clear:lan 0:terminate:dhcp 0:clear:dhcp", "dhcp=stopped lan=stopped dns=stopped log=stopped"},
		"the end kills":                             {"a:", "a.up end +5 +6 a.dead", "0:start:a 0:terminate:a 5:kill:a 10:kill:a", "a=stopped"},
		"the end of a back-off":                     {"a:", "a.up a.dead end +100", "0:start:a", "a=stopped"},
		"a failed one runs again for another value": {"a: | out=k ready=k; b: a/k | oneshot never", "a.up a/k=1 b.dead +50 a/k=2", "0:start:a 0:start:b 50:start:b", "a=ready b=starting"},
		"an unknown output is none":                 {"a: | out=k ready=k", "a.up a/other=1", "0:start:a", "a=starting"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := NewMachine(graph(t, tt.graph))
			if err != nil {
				t.Fatal(err)
			}
			if got := play(t, m, tt.script); got != tt.want {
				t.Errorf("did  %s\nwant %s", got, tt.want)
			}
			if got := states(m); got != tt.states {
				t.Errorf("states %s\nwant   %s", got, tt.states)
			}
		})
	}
}

func states(m *Machine) string {
	var words []string
	for _, s := range m.Status().Services {
		word := s.Name + "=" + string(s.State)
		if s.Reason != "" {
			word += "(" + s.Reason + ")"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// TestLateWords: what is said about an earlier run is about nothing.
func TestLateWords(t *testing.T) {
	m, err := NewMachine(graph(t, "a: | out=k notify"))
	if err != nil {
		t.Fatal(err)
	}
	play(t, m, "a.up a.dead +1")
	if m.byName["a"].run != 2 {
		t.Fatalf("run %d", m.byName["a"].run)
	}
	m.Ready(time.Second, "a", 1)
	m.Output(time.Second, "a", 1, "k", "v", true)
	m.Exited(time.Second, "a", 1, true, "")
	m.Exited(time.Second, "b", 2, true, "")
	if got := states(m); got != "a=starting" {
		t.Error(got)
	}
}

func TestStartHasValues(t *testing.T) {
	m, err := NewMachine(graph(t, "a: | out=k,l ready=k; b: a a/k a/l"))
	if err != nil {
		t.Fatal(err)
	}
	m.Begin(0)
	m.Started(0, "a", 1, 1)
	if got := m.Output(0, "a", 1, "k", "v", true); got != nil {
		t.Errorf("started without a/l: %v", got)
	}
	got := m.Output(0, "a", 1, "l", "w", true)
	if want := "[{start b 1 map[a/k:v a/l:w]}]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}
