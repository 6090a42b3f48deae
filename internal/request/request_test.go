package request_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/internal/request"
)

func valid() request.Request {
	return request.Request{
		Version: request.Version, Item: "debian",
		Payload: request.Payload{
			Format: "erofs", Size: 1, TreeSize: 1, Arch: "amd64", Kernel: "6.12.1-amd64",
			SHA256: strings.Repeat("0", 64), Source: request.Source{Path: "/payload.erofs"},
		},
		Disks:  map[string]request.DiskSelector{"main": {Serial: "S1"}},
		System: request.System{Hostname: "h", Network: request.Network{Mode: request.NetworkDHCP}},
		Finish: request.FinishStay,
	}
}

func TestRoundTrip(t *testing.T) {
	var buf bytes.Buffer
	if err := valid().Encode(&buf); err != nil {
		t.Fatal(err)
	}
	got, err := request.Decode(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(valid(), got); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for in, want := range map[string]string{
		`{"version":3,"nonsense":[]}`:           "version 3, this vic reads version 2",
		`{}`:                                    "version 0",
		`{"version":2,"colour":"red"}`:          `unknown field "colour"`,
		`{"version":2`:                          "unexpected end",
		strings.Repeat(" ", 2<<20) + `{}`:       "larger than",
		`{"version":2,"payload":{"size":"12"}}`: "cannot unmarshal",
	} {
		if _, err := request.Decode(strings.NewReader(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: got %v, want %q", in, err, want)
		}
	}
}

func TestValidateNamesTheField(t *testing.T) {
	for _, tt := range []struct {
		spoil func(*request.Request)
		want  string
	}{
		{func(r *request.Request) { r.Disks["main"] = request.DiskSelector{} }, "must name a disk"},
		{func(r *request.Request) { r.Finish = "dance" }, `finish "dance"`},
		{func(r *request.Request) { r.Payload.SHA256 = strings.Repeat("A", 64) }, "payload.sha256"},
		{func(r *request.Request) { r.Payload.Source.Serial = "x" }, "exactly one of serial, path, partLabel"},
		{func(r *request.Request) { r.Payload.Source = request.Source{Stream: true, URL: "http://x/y"} }, "exactly one of"},
		{func(r *request.Request) { r.Payload.Source = request.Source{URL: "ftp://x/y"} }, "must be an http or https URL"},
		{func(r *request.Request) { r.Payload.Source = request.Source{URL: "http:///y"} }, "must be an http or https URL"},
		{func(r *request.Request) { r.Payload.Source = request.Source{URL: "http://x/%zz"} }, "must be an http or https URL"},
		{func(r *request.Request) { r.Payload.Source = request.Source{URL: "https://me:pw@x/y"} }, "holds no secrets"},
		{func(r *request.Request) { r.Payload.Kernel = "../../x" }, "payload.kernel"},
		{func(r *request.Request) { r.System.Users = []request.User{{Name: "a:b"}} }, `user "a:b"`},
		{func(r *request.Request) { r.System.Users = []request.User{{Name: "a"}, {Name: "a"}} }, "is there twice"},
		{func(r *request.Request) {
			r.System.Users = []request.User{{Name: "a", SSHKeys: []string{"k\nroot"}}}
		}, "must be one line"},
		{func(r *request.Request) { r.System.Locale = "de DE" }, "system.locale"},
		{func(r *request.Request) { r.System.Network.Mode = "" }, "system.network.mode"},
	} {
		req := valid()
		tt.spoil(&req)
		if err := req.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	var buf bytes.Buffer
	if err := valid().Encode(&buf); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes())
	f.Fuzz(func(t *testing.T, doc []byte) {
		req, err := request.Decode(bytes.NewReader(doc))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := req.Encode(&out); err != nil {
			t.Errorf("decoded request does not encode: %v", err)
		}
	})
}
