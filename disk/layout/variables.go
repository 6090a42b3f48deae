package layout

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Variables are what a hook sees of what it stands at, as disko defines them:
// the options of its type, but for those that contain others (content,
// partitions, ...) and hooks.
type Variables struct {
	Text map[string]string            `json:"text,omitempty"`
	List map[string][]string          `json:"list,omitempty"`
	Map  map[string]map[string]string `json:"map,omitempty"`
}

// VariablesOf are those of a content or a device of the layout: a struct, or a
// pointer to one. What is not given is empty; true is 1, and false is empty.
// more are names and values that are not in it: its type, or a default.
func VariablesOf(spec any, more ...string) Variables {
	v := Variables{map[string]string{}, map[string][]string{}, map[string]map[string]string{}}
	s := reflect.Indirect(reflect.ValueOf(spec))
	for i := range s.NumField() {
		name, _, _ := strings.Cut(s.Type().Field(i).Tag.Get("json"), ",")
		if name != "" && !nested[name] {
			v.add(strings.ReplaceAll(name, "-", "_"), s.Field(i))
		}
	}
	for i := 0; i < len(more); i += 2 {
		v.Text[more[i]] = more[i+1]
	}
	if list, ok := v.List["mountOptions"]; ok && len(list) == 0 {
		v.List["mountOptions"] = []string{"defaults"}
	}
	return v
}

// nested are the options that disko gives to no hook, and vic's own.
var nested = map[string]bool{"content": true, "partitions": true, "datasets": true, "swap": true, "mode": true, "match": true}

// given are the options that are true when they are not given.
var given = map[string]bool{"efiGptPartitionFirst": true, "initrdUnlock": true}

func (v Variables) add(name string, f reflect.Value) {
	switch x := f.Interface().(type) {
	case string:
		v.Text[name] = x
	case int:
		v.Text[name] = strconv.Itoa(x)
	case bool:
		v.Text[name] = shellBool(x)
	case *bool:
		v.Text[name] = shellBool(x == nil && given[name] || x != nil && *x)
	case *int:
		v.Text[name] = ""
		if x != nil {
			v.Text[name] = strconv.Itoa(*x)
		}
	case []string:
		v.List[name] = x
	case map[string]string:
		v.Map[name] = x
	}
}

func shellBool(b bool) string {
	if b {
		return "1"
	}
	return ""
}

// Shell sets the variables, a line for each. Lists and maps are bash's; other
// shells have none.
func (v Variables) Shell(bash bool) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(v.Text)) {
		fmt.Fprintf(&b, "%s=%s\n", name, quote(v.Text[name]))
	}
	if !bash {
		return b.String()
	}
	for _, name := range slices.Sorted(maps.Keys(v.List)) {
		var words []string
		for _, w := range v.List[name] {
			words = append(words, quote(w))
		}
		fmt.Fprintf(&b, "declare -a %s=(%s)\n", name, strings.Join(words, " "))
	}
	for _, name := range slices.Sorted(maps.Keys(v.Map)) {
		var words []string
		for _, key := range slices.Sorted(maps.Keys(v.Map[name])) {
			words = append(words, "["+quote(key)+"]="+quote(v.Map[name][key]))
		}
		fmt.Fprintf(&b, "declare -A %s=(%s)\n", name, strings.Join(words, " "))
	}
	return b.String()
}

// quote makes one word of a text, for any shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
