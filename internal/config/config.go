// Package config turns items, types, options and layers into one Config.
//
//	images/ --Open--> Registry --Load(item, Layers)--> Config
//
//	layers, later wins:
//	  type default < item default < this machine < env.yaml < -n < -o
//
// It reads settings and nothing else: it does not look at the machine, does
// not build, and knows no secrets. Everything that is wrong is reported at
// once, with its layer, line, column and the nearest right name.
package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Config is an item with every option settled. It is immutable.
//
// The accessors panic when the item has no such option, or one of another
// kind: that is a mistake in the program, not in what people wrote. Has tells.
type Config struct {
	item     Item
	values   map[string]setting
	injected []injection
}

// Item is what the Config is for. Its secrets are required also when a file or a
// unit cannot be written without them.
func (c *Config) Item() Item { return c.item }

// Is tells whether the item has the type.
func (c *Config) Is(typ string) bool { return slices.Contains(c.item.Types, typ) }

// Has tells whether the item has the option.
func (c *Config) Has(key string) bool {
	_, ok := c.values[key]
	return ok
}

func get[T any](c *Config, key string) T {
	s, ok := c.values[key]
	if !ok {
		panic(fmt.Sprintf("config: item %s has no option %q", c.item.Name, key))
	}
	v, ok := s.value.(T)
	if !ok {
		panic(fmt.Sprintf("config: option %q of item %s is a %T", key, c.item.Name, s.value))
	}
	return v
}

// String is the value of a string, enum, hostname or sshkey option.
func (c *Config) String(key string) string { return get[string](c, key) }

// Bool is the value of a bool option.
func (c *Config) Bool(key string) bool { return get[bool](c, key) }

// Int is the value of an int option.
func (c *Config) Int(key string) int64 { return get[int64](c, key) }

// Size is the value of a size option, in bytes.
func (c *Config) Size(key string) int64 { return get[int64](c, key) }

// Duration is the value of a duration option.
func (c *Config) Duration(key string) time.Duration { return get[time.Duration](c, key) }

// List is the value of a list option.
func (c *Config) List(key string) []string { return slices.Clone(get[[]string](c, key)) }

// Source says which layer set the value, for people: "type linux-distro",
// "item installer", "my.yaml:4", "this machine", "~/env.yaml:3", "-n (inline):1", "-o".
func (c *Config) Source(key string) string { return c.values[key].source }

// Explicit tells whether a person set the value, rather than a default.
func (c *Config) Explicit(key string) bool { return c.values[key].explicit }

// Select evaluates one of the item's lists ("packages", "modules", ...): the
// names of all groups whose conditions hold, sorted, without duplicates. A
// list that the item does not have is empty.
func (c *Config) Select(list string) []string {
	var names []string
	for _, g := range c.item.lists[list] {
		if c.matches(g) {
			names = append(names, g.Names...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (c *Config) matches(g group) bool {
	for key, values := range g.When {
		if !slices.Contains(values, c.Text(key)) {
			return false
		}
	}
	for key, values := range g.Unless {
		if slices.Contains(values, c.Text(key)) {
			return false
		}
	}
	return true
}

// Text is a value as -o takes it.
func (c *Config) Text(key string) string {
	o, _ := c.item.option(key)
	return o.Format(c.values[key].value)
}

// Values returns the options of a layer ("" for all) for encoding as JSON:
// sizes are bytes, durations are strings. Values(Build) is what the bytes of
// the artefacts depend on.
func (c *Config) Values(layer Layer) map[string]any {
	m := map[string]any{}
	for _, o := range c.item.Options {
		if layer != "" && o.Layer != layer {
			continue
		}
		v := c.values[o.Name].value
		if d, ok := v.(time.Duration); ok {
			v = d.String()
		}
		m[o.Name] = v
	}
	return m
}

// MarshalJSON writes the item, its types and the values of all options, in a
// fixed order. Where the values came from is left out: the same settings give
// the same bytes.
func (c *Config) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Item    string         `json:"item"`
		Types   []string       `json:"types"`
		Options map[string]any `json:"options"`
	}{c.item.Name, c.item.Types, c.Values("")})
}

// Lists names the lists that Select knows.
func (c *Config) Lists() []string { return slices.Sorted(maps.Keys(c.item.lists)) }
