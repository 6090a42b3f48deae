package service

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/victorinix/vic/internal/lazyregexp"
)

// Order lists the names of the services, each after all that it needs or comes
// after, otherwise as they are in the graph.
func (g Graph) Order() ([]string, error) {
	o := ordering{services: map[string]Service{}, mark: map[string]int{}}
	for _, s := range g.Services {
		o.services[s.Name] = s
	}
	for _, s := range g.Services {
		if err := o.visit(s.Name, nil); err != nil {
			return nil, err
		}
	}
	return o.list, nil
}

// ordering is a depth-first walk.
type ordering struct {
	services map[string]Service
	mark     map[string]int // 1: on the way; 2: in the list
	list     []string
}

func (o *ordering) visit(name string, way []string) error {
	way = append(way, name)
	switch o.mark[name] {
	case 1:
		return fmt.Errorf("read services: they wait for each other: %s", strings.Join(way[slices.Index(way, name):], " -> "))
	case 2:
		return nil
	}
	o.mark[name] = 1
	for _, dep := range o.services[name].dependencies() {
		if err := o.visit(dep, way); err != nil {
			return err
		}
	}
	o.mark[name] = 2
	o.list = append(o.list, name)
	return nil
}

// dependencies are the names of all services that it waits for.
func (s Service) dependencies() []string {
	var names []string
	for _, ref := range slices.Concat(s.Needs, s.After) {
		name, _, _ := strings.Cut(ref, "/")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

var placeholder = lazyregexp.New(`\$\{([^}]*)\}`)

// placeholders are the outputs that it mentions.
func (s Service) placeholders() []string {
	texts := slices.Concat(s.Command, s.Builtin, slices.Collect(maps.Values(s.Env)))
	if s.Ready != nil {
		texts = append(texts, s.Ready.TCP, s.Ready.UDP, s.Ready.File)
	}
	var refs []string
	for _, text := range texts {
		for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
			refs = append(refs, m[1])
		}
	}
	slices.Sort(refs)
	return slices.Compact(refs)
}

// With is the service with the values of the outputs that it mentions.
func (s Service) With(values map[string]string) Service {
	fill := func(text string) string {
		return placeholder.ReplaceAllStringFunc(text, func(m string) string { return values[m[2:len(m)-1]] })
	}
	fillAll := func(texts []string) []string {
		texts = slices.Clone(texts)
		for i, t := range texts {
			texts[i] = fill(t)
		}
		return texts
	}
	s.Command, s.Builtin, s.Env = fillAll(s.Command), fillAll(s.Builtin), maps.Clone(s.Env)
	for k, v := range s.Env {
		s.Env[k] = fill(v)
	}
	if s.Ready != nil {
		r := *s.Ready
		r.TCP, r.UDP, r.File = fill(r.TCP), fill(r.UDP), fill(r.File)
		s.Ready = &r
	}
	return s
}
