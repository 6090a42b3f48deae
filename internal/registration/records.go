package registration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// records reads all records of a copy. One that is damaged is among damaged, by
// its ID.
func records(c Copy) (list map[string]Record, damaged map[string]error, err error) {
	names, err := c.Names()
	if err != nil {
		return nil, nil, fmt.Errorf("read registrations in %s: %w", c, err)
	}
	list, damaged = map[string]Record{}, map[string]error{}
	for _, name := range names {
		id, kind, _ := strings.Cut(name, ".")
		if _, ok := number(id); !ok || kind != "json" {
			continue
		}
		r, err := record(c, id)
		if err != nil {
			damaged[id] = err
			continue
		}
		list[id] = r
	}
	return list, damaged, nil
}

func record(c Copy, id string) (Record, error) {
	r, err := readRecord(c, id)
	if err != nil {
		return Record{}, fmt.Errorf("read %s.json in %s: %w", id, c, err)
	}
	return r, nil
}

func readRecord(c Copy, id string) (Record, error) {
	var r Record
	f, err := c.Open(id + ".json")
	if err != nil {
		return r, err
	}
	b, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return r, err
	}
	var head struct{ Version int }
	if err := json.Unmarshal(b, &head); err == nil && head.Version > Version {
		return r, fmt.Errorf("version %d: %w", head.Version, ErrUnknownKind)
	}
	if err := strict(b, &r); err != nil {
		return r, err
	}
	if r.ID != id || r.Version != Version {
		return r, fmt.Errorf("it is a record of %q, version %d", r.ID, r.Version)
	}
	return r, nil
}

func putRecord(c Copy, r Record) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", r.ID, err)
	}
	if err := c.Write(r.ID+".json", bytes.NewReader(append(b, '\n'))); err != nil {
		return fmt.Errorf("record %s in %s: %w", r.ID, c, err)
	}
	return nil
}

// strict decodes one JSON value, and refuses what v has no field for.
func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind its end")
	}
	return nil
}
