package service

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

func doc(services string) string { return `{"version": 1, "services": [` + services + `]}` }

func TestDecodeRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ doc, want string }{
		"empty":          {"", "read services: line 1: EOF"},
		"no JSON":        {"{\n\n,", "line 3: invalid character ','"},
		"version":        {`{"version": 2}`, "version 2, this program knows 1"},
		"more":           {doc("") + "{}", "something follows"},
		"key":            {doc("\n{\"name\": \"a\", \"comand\": []}"), `line 2: unknown key "comand"; did you mean "command"?`},
		"far key":        {doc(`{"qqqqqqqqq": 1}`), `unknown key "qqqqqqqqq"`},
		"duration":       {doc(`{"name": "a", "stop": 5}`), `a duration is a text such as "5s", not 5`},
		"duration text":  {doc(`{"name": "a", "stop": "5"}`), `not "5"`},
		"name":           {doc(`{"name": "../a", "command": ["x"]}`), "service ../a: a name is made of"},
		"nothing to run": {doc(`{"name": "a"}`), "service a: it needs either command or builtin"},
		"both":           {doc(`{"name": "a", "command": ["x"], "builtin": ["y"]}`), "either command or builtin"},
		"twice":          {doc(`{"name": "a", "command": ["x"]}, {"name": "a", "command": ["x"]}`), "service a is there twice"},
		"unknown need":   {doc(`{"name": "dhcp", "command": ["x"]}, {"name": "b", "command": ["x"], "needs": ["dhpc"]}`), `service b: there is no service "dhpc"; did you mean "dhcp"?`},
		"unknown output": {doc(`{"name": "a", "command": ["x"], "outputs": ["address"]}, {"name": "b", "command": ["x"], "needs": ["a/adress"]}`), `service a has no output "adress"; did you mean "address"?`},
		"after output":   {doc(`{"name": "a", "command": ["x"], "outputs": ["k"]}, {"name": "b", "command": ["x"], "after": ["a/k"]}`), "after takes a service"},
		"cycle":          {doc(`{"name": "a", "command": ["x"], "needs": ["b"]}, {"name": "b", "command": ["x"], "after": ["a"]}`), "they wait for each other: a -> b -> a"},
		"itself":         {doc(`{"name": "a", "command": ["x"], "needs": ["a"]}`), "a -> a"},
		"two conditions": {doc(`{"name": "a", "command": ["x"], "ready": {"exit": true, "notify": true}}`), "ready has 2 conditions"},
		"no condition":   {doc(`{"name": "a", "command": ["x"], "ready": {}}`), "ready has 0 conditions"},
		"ready output":   {doc(`{"name": "a", "command": ["x"], "ready": {"output": "k"}}`), `ready: it has no output "k"`},
		"ready file":     {doc(`{"name": "a", "command": ["x"], "ready": {"file": "k"}}`), "no absolute path"},
		"ready port":     {doc(`{"name": "a", "command": ["x"], "ready": {"tcp": "localhost:0"}}`), "no port from 1 to 65535"},
		"ready address":  {doc(`{"name": "a", "command": ["x"], "ready": {"udp": "53"}}`), `"53" is not ADDRESS:PORT`},
		"output key":     {doc(`{"name": "a", "command": ["x"], "outputs": ["A/b"]}`), `output "A/b": a key is made of`},
		"restart":        {doc(`{"name": "a", "command": ["x"], "restart": "sometimes"}`), `restart is always or never, not "sometimes"`},
		"backoff":        {doc(`{"name": "a", "command": ["x"], "backoff": {"first": "9s", "longest": "5s"}}`), "first must not be longer"},
		"endless":        {doc(`{"name": "a", "command": ["x"], "backoff": {"longest": "2h"}}`), "at most 1h"},
		"negative":       {doc(`{"name": "a", "command": ["x"], "stop": "-1s"}`), "cannot be negative"},
		"placeholder":    {doc(`{"name": "a", "command": ["x"], "outputs": ["k"]}, {"name": "b", "command": ["x", "${a/k}"], "needs": ["a"]}`), "it uses ${a/k}, which it does not need"},
		"large":          {strings.Repeat(" ", maxSize+1), "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(strings.NewReader(tt.doc))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestDecode(t *testing.T) {
	f, err := os.Open("testdata/router.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	g, err := Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Services) != 4 {
		t.Fatalf("%d services", len(g.Services))
	}
	want := Service{Name: "dhcp", Builtin: []string{"dhcp", "eth0"}, Outputs: []string{"address", "gateway"},
		Ready: &Ready{Output: "address"}, Restart: RestartAlways, Processes: DefaultProcesses, Stop: Duration(DefaultStop),
		Backoff: Backoff{First: Duration(2 * time.Second), Longest: Duration(time.Minute)}}
	if !reflect.DeepEqual(g.Services[0], want) {
		t.Errorf("got  %+v\nwant %+v", g.Services[0], want)
	}
	with := g.Services[2].With(map[string]string{"lan/subnet": "10.0.0.0/24"})
	if got := strings.Join(with.Command, " "); got != "dnsmasq --listen=10.0.0.0/24 -k" {
		t.Errorf("command %s", got)
	}
	if again, err := json.Marshal(g); err != nil {
		t.Error(err)
	} else if g2, err := Decode(strings.NewReader(string(again))); err != nil || !reflect.DeepEqual(g, g2) {
		t.Errorf("not the same after encoding: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	b, err := os.ReadFile("testdata/router.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(b))
	f.Add(doc(`{"name": "a", "command": ["${"], "needs": ["/"]}`))
	f.Fuzz(func(t *testing.T, text string) {
		g, err := Decode(strings.NewReader(text))
		if err != nil {
			return
		}
		m, err := NewMachine(g)
		if err != nil {
			t.Fatalf("valid, and no machine: %v", err)
		}
		m.Begin(0)
		m.Shutdown(time.Second)
	})
}
