package envscan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Lookup returns the fact at a dotted path such as "env.hw.nic.0.hwaddr" or
// "hw.nic.0.hwaddr", as encoding/json decodes it, with numbers as
// json.Number. An empty path, or "env", is the whole document.
func Lookup(f Facts, path string) (any, error) {
	doc, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", path, err)
	}
	d := json.NewDecoder(strings.NewReader(string(doc)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("look up %s: %w", path, err)
	}
	rest := strings.TrimPrefix(strings.TrimPrefix(path, "env"), ".")
	if rest == "" {
		return v, nil
	}
	at := "env"
	for _, key := range strings.Split(rest, ".") {
		next, err := child(v, key)
		if err != nil {
			return nil, fmt.Errorf("look up %s: %s %w", path, at, err)
		}
		v, at = next, at+"."+key
	}
	return v, nil
}

func child(v any, key string) (any, error) {
	switch v := v.(type) {
	case map[string]any:
		if c, ok := v[key]; ok {
			return c, nil
		}
		return nil, fmt.Errorf("has no %q, only %s", key, strings.Join(slices.Sorted(maps.Keys(v)), ", "))
	case []any:
		i, err := strconv.Atoi(key)
		if err != nil || i < 0 || i >= len(v) {
			return nil, fmt.Errorf("is a list of %d, counted from 0: it has no %q", len(v), key)
		}
		return v[i], nil
	}
	return nil, fmt.Errorf("is %v and has nothing below it", v)
}
