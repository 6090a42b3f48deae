package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/victorinix/vic/internal/lazyregexp"
	"github.com/victorinix/vic/internal/nearest"
)

// maxSize is the size of the largest graph, in bytes.
const maxSize = 1 << 20

// Decode reads a graph and checks it. Services that left something out come
// with the defaults. All that is wrong with the services is in the error.
func Decode(r io.Reader) (Graph, error) {
	doc, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return Graph{}, fmt.Errorf("read services: %w", err)
	}
	if len(doc) > maxSize {
		return Graph{}, fmt.Errorf("read services: longer than %d bytes", maxSize)
	}
	var g Graph
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&g); err != nil {
		return Graph{}, fmt.Errorf("read services: %w", meant(err, doc, int(dec.InputOffset())))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Graph{}, errors.New("read services: something follows the document")
	}
	for i, s := range g.Services {
		g.Services[i] = s.filled()
	}
	return g, g.Validate()
}

// fields are all names of the document.
var fields = []string{"version", "services", "name", "command", "builtin", "env", "needs", "after", "outputs",
	"ready", "output", "file", "tcp", "udp", "notify", "exit", "within",
	"restart", "backoff", "first", "longest", "stop", "processes"}

// meant adds the line, and to an unknown field the nearest right name.
func meant(err error, doc []byte, offset int) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		offset = int(syntax.Offset)
	}
	line := 1 + bytes.Count(doc[:min(offset, len(doc))], []byte("\n"))
	if _, name, ok := strings.Cut(err.Error(), "unknown field "); ok {
		name = strings.Trim(name, `"`)
		if near := nearest.Name(name, fields); near != "" {
			return fmt.Errorf("line %d: unknown key %q; did you mean %q?", line, name, near)
		}
		return fmt.Errorf("line %d: unknown key %q", line, name)
	}
	return fmt.Errorf("line %d: %w", line, err)
}

// Names become names of folders and of control groups.
var (
	namePattern = lazyregexp.New(`^[a-z0-9][a-z0-9-]{0,39}$`)
	keyPattern  = lazyregexp.New(`^[a-z0-9][a-z0-9.-]{0,39}$`)
)

// Validate says what is wrong with a graph: names, references, cycles.
func (g Graph) Validate() error {
	if g.Version != Version {
		return fmt.Errorf("read services: the document has version %d, this program knows %d", g.Version, Version)
	}
	services := map[string]Service{}
	var errs []error
	for _, s := range g.Services {
		if _, twice := services[s.Name]; twice {
			errs = append(errs, fmt.Errorf("service %s is there twice", s.Name))
		}
		services[s.Name] = s
	}
	for _, s := range g.Services {
		for _, err := range append(s.check(), s.references(services)...) {
			errs = append(errs, fmt.Errorf("service %s: %w", s.Name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	_, err := g.Order()
	return err
}

// check is what can be seen without the other services.
func (s Service) check() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !namePattern.MatchString(s.Name) {
		bad("a name is made of at most 40 lower-case letters, digits and -")
	}
	if (len(s.Command) == 0) == (len(s.Builtin) == 0) {
		bad("it needs either command or builtin")
	}
	for _, k := range s.Outputs {
		if !keyPattern.MatchString(k) {
			bad("output %q: a key is made of at most 40 lower-case letters, digits, . and -", k)
		}
	}
	if s.Restart != RestartAlways && s.Restart != RestartNever {
		bad("restart is %s or %s, not %q", RestartAlways, RestartNever, s.Restart)
	}
	if b := s.Backoff; b.First < 0 || b.Longest < b.First || time.Duration(b.Longest) > time.Hour {
		bad("backoff goes from first %v to longest %v: first must not be longer, and longest at most 1h", time.Duration(b.First), time.Duration(b.Longest))
	}
	if s.Stop < 0 || s.Processes < 0 {
		bad("stop and processes cannot be negative")
	}
	if s.Ready != nil {
		errs = append(errs, s.Ready.check(s.Outputs)...)
	}
	return errs
}

func (r Ready) check(outputs []string) (errs []error) {
	conditions := 0
	for _, set := range []bool{r.Output != "", r.File != "", r.TCP != "", r.UDP != "", r.Notify, r.Exit} {
		if set {
			conditions++
		}
	}
	if conditions != 1 {
		errs = append(errs, fmt.Errorf("ready has %d conditions, it needs one of output, file, tcp, udp, notify, exit", conditions))
	}
	if r.Output != "" && !slices.Contains(outputs, r.Output) {
		errs = append(errs, fmt.Errorf("ready: it has no output %q%s", r.Output, didYouMean(r.Output, outputs)))
	}
	if r.File != "" && !filepath.IsAbs(r.File) {
		errs = append(errs, fmt.Errorf("ready: file %q is no absolute path", r.File))
	}
	for _, addr := range []string{r.TCP, r.UDP} {
		if addr == "" || strings.Contains(addr, "${") {
			continue
		}
		if err := checkPort(addr); err != nil {
			errs = append(errs, fmt.Errorf("ready: %w", err))
		}
	}
	if r.Within < 0 {
		errs = append(errs, errors.New("ready: within cannot be negative"))
	}
	return errs
}

func checkPort(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not ADDRESS:PORT", addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q has no port from 1 to 65535", addr)
	}
	return nil
}

// references checks what a service says about others.
func (s Service) references(all map[string]Service) (errs []error) {
	var names []string
	for name := range all {
		names = append(names, name)
	}
	for _, ref := range slices.Concat(s.Needs, s.After) {
		name, key, keyed := strings.Cut(ref, "/")
		other, ok := all[name]
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("there is no service %q%s", name, didYouMean(name, names)))
		case keyed && slices.Contains(s.After, ref):
			errs = append(errs, fmt.Errorf("after takes a service, not the output %q", ref))
		case keyed && !slices.Contains(other.Outputs, key):
			errs = append(errs, fmt.Errorf("service %s has no output %q%s", name, key, didYouMean(key, other.Outputs)))
		}
	}
	for _, ref := range s.placeholders() {
		if !slices.Contains(s.Needs, ref) {
			errs = append(errs, fmt.Errorf("it uses ${%s}, which it does not need%s", ref, didYouMean(ref, s.Needs)))
		}
	}
	return errs
}

func didYouMean(name string, candidates []string) string {
	if near := nearest.Name(name, candidates); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}
