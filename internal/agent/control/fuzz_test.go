package control

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
)

// Whatever comes, a call that is taken is one of bounded size, and nothing
// beyond its line is read away.
func FuzzReadCall(f *testing.F) {
	for _, s := range []string{`{"verb":"status"}` + "\n", `{"verb":"send","offset":5}` + "\nbytes", `{"verb":"leave","force":true}` + "\n", "{", "\n\n", `{"verb":"deliver","length":1e99}` + "\n", strings.Repeat(" ", maxLine) + "\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(b), maxLine)
		c, err := readCall(r)
		if err != nil {
			return
		}
		if c.Length < 0 || c.Length > maxDelivery || c.Offset < 0 {
			t.Errorf("out of bounds: %+v", c)
		}
		rest := new(bytes.Buffer)
		if _, err := r.WriteTo(rest); err != nil {
			t.Fatal(err)
		}
		_, after, _ := bytes.Cut(b, []byte("\n"))
		if !bytes.Equal(rest.Bytes(), after) {
			t.Errorf("%q is left of %q", rest, b)
		}
	})
}

func FuzzDecodeDelivery(f *testing.F) {
	f.Add([]byte(`{"request":{"version":2},"secrets":{"version":1,"secrets":{"a":"eA=="}}}`))
	f.Add([]byte(`{"request":null,"secrets":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decode(b)
		if err == nil && d.Request.Validate() != nil {
			t.Errorf("taken, though %v", d.Request.Validate())
		}
	})
}

func FuzzLastLine(f *testing.F) {
	f.Add([]byte(`{"v":1,"seq":7}`+"\n"), true)
	f.Add([]byte("\n\n{"), false)
	f.Fuzz(func(t *testing.T, b []byte, whole bool) {
		if _, ok := lastLine(b, whole); ok && !bytes.Contains(b, []byte("\n")) {
			t.Error("a number of a line that is not complete")
		}
	})
}
