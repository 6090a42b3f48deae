package slot

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
)

func TestChoice(t *testing.T) {
	for _, c := range []Choice{{A, 0, 0}, {A, B, 0}, {B, A, 0}, {B, A, A}, {A, B, B}} {
		b := c.Encode()
		if len(b) != AutobootSize {
			t.Errorf("%+v: %d bytes", c, len(b))
		}
		if got, err := ParseChoice(b); err != nil || got != c {
			t.Errorf("%+v: read back as %+v, %v", c, got, err)
		}
	}
	for text, want := range map[string]Choice{
		"":                         {A, 0, 0},
		"boot_partition=2\n":       {B, 0, 0},
		"[all]\nboot_partition=2 ": {B, 0, 0},
		"[tryboot]\nboot_partition=2\n[all]\nboot_partition=1": {A, 0, 0}, // not tried by partition
		"tryboot_a_b=1\r\n[tryboot]\r\nboot_partition=2\r\n":   {A, B, 0},
		"[pi4]\nboot_partition=2\n":                            {A, 0, 0},
		"# vic: back=3\nboot_partition=2\n":                    {B, 0, 0},
		"#boot_partition=2":                                    {A, 0, 0},
	} {
		if got, err := ParseChoice([]byte(text)); err != nil || got != want {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"boot_partition=3", "boot_partition=x", "[tryboot]\nboot_partition=0"} {
		if c, err := ParseChoice([]byte(text)); err == nil {
			t.Errorf("%q: got %+v", text, c)
		}
	}
}

func good() Order {
	hash := strings.Repeat("ab", 32)
	return Order{Version: Version, Disk: "1234abcd", Slot: B, Size: 1 << 20, Extents: []Extent{
		{Offset: 0, Size: 2048, SHA256: hash}, {Name: "a", Offset: 2048, Size: 100, SHA256: hash, Keep: true}, {Name: "b", Offset: 4096, Size: 1 << 10, SHA256: hash},
	}}
}

func TestOrder(t *testing.T) {
	var b bytes.Buffer
	if err := good().Write(&b); err != nil {
		t.Fatal(err)
	}
	b.WriteString("more")
	r := bufio.NewReader(&b)
	if o, err := ReadOrder(r); err != nil || o.Extents[2] != good().Extents[2] {
		t.Errorf("got %+v, %v", o, err)
	}
	if rest, _ := r.Peek(4); string(rest) != "more" {
		t.Errorf("after the order comes %q", rest)
	}
	for want, change := range map[string]func(*Order){
		"version 2":                 func(o *Order) { o.Version = 2 },
		"slot 3 of disk":            func(o *Order) { o.Slot = 3 },
		`disk "1-01"`:               func(o *Order) { o.Disk = "1-01" },
		"does not begin":            func(o *Order) { o.Extents = o.Extents[1:] },
		"is not in a slot":          func(o *Order) { o.Extents[2].Size = 1 << 20 },
		"1024 bytes at 4097 is not": func(o *Order) { o.Extents[2].Offset = 4097 },
		"at -512":                   func(o *Order) { o.Extents[2].Offset = -512 },
		"bytes at 9223372036854775": func(o *Order) { o.Extents[2].Offset = 1<<63 - 512 },
		"overlap":                   func(o *Order) { o.Extents[2].Offset = 2048 },
		"comes first":               func(o *Order) { o.Extents[2].Name = "" },
		"is no SHA-256":             func(o *Order) { o.Extents[1].SHA256 = "12" },
		"only files are kept":       func(o *Order) { o.Extents[0].Keep = true },
		"at most 8388608 may": func(o *Order) {
			o.Size, o.Extents[0].Size, o.Extents[1].Offset, o.Extents[2].Offset = 64<<20, 9<<20, 10<<20, 11<<20
		},
	} {
		o := good()
		change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

func FuzzReadOrder(f *testing.F) {
	var b bytes.Buffer
	if err := good().Write(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := ReadOrder(bytes.NewReader(text))
		if err != nil {
			return
		}
		for _, e := range o.Extents {
			if e.Offset < 0 || e.Offset+e.Size > o.Size {
				t.Errorf("%+v leaves a slot of %d bytes", e, o.Size)
			}
		}
	})
}

func FuzzParseChoice(f *testing.F) {
	f.Add(Choice{A, B, B}.Encode())
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := ParseChoice(text); err == nil && (c.Default != A && c.Default != B || c.Try < 0 || c.Try > B) {
			t.Errorf("%q: %+v", text, c)
		}
	})
}
