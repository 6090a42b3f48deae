package remote

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Host{
		"web1":                   {Name: "web1"},
		"root@web1":              {User: "root", Name: "web1"},
		"root@web1:2222":         {User: "root", Name: "web1", Port: 2222},
		"192.0.2.7:22":           {Name: "192.0.2.7", Port: 22},
		"2001:db8::7":            {Name: "2001:db8::7"},
		"[2001:db8::7]":          {Name: "2001:db8::7"},
		"anna@[2001:db8::7]:22":  {User: "anna", Name: "2001:db8::7", Port: 22},
		"anna@web1.example.org.": {User: "anna", Name: "web1.example.org."},
	} {
		got, err := Parse(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if again, err := Parse(got.String()); err != nil || again != got {
			t.Errorf("%s: %s is read as %+v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "@web1", "root@", "web1:0", "web1:70000", "web1:ssh", "-oProxyCommand=x", "-l@web1", "root@-x", "a b", "a;b", "$(x)"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
}

// A host whose key nobody knows is not talked to.
func TestUnknownHost(t *testing.T) {
	t.Parallel()
	s, err := Open(Host{Name: "elsewhere"}, serve(t).config)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = s.Run(ctx, "true", nil)
	var failed *Error
	if !errors.Is(err, ErrHostKey) || IsLost(err) {
		t.Error(err)
	}
	if !errors.As(err, &failed) || failed.Exit != 255 || !strings.HasPrefix(err.Error(), "connect to elsewhere: ") || !strings.Contains(err.Error(), "key verification failed") {
		t.Errorf("%v", err)
	}
}

// What hangs ends with the context.
func TestRunEnds(t *testing.T) {
	t.Parallel()
	s, err := Open(Host{Name: "there"}, serve(t).config)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := s.Run(ctx, "sleep 20", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestTail(t *testing.T) {
	b := tail{limit: 5}
	for _, part := range []string{"one", "two", "three"} {
		if n, err := b.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if string(b.text) != "three" {
		t.Errorf("%q", b.text)
	}
}
