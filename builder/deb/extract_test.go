package deb

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

const plainControl = "Package: test\nVersion: 1\nArchitecture: amd64\nInstalled-Size: 100"

// extractAll lists "TYPE NAME [-> LINK]" and the contents.
func extractAll(deb []byte) (names []string, contents map[string]string, err error) {
	contents = map[string]string{}
	err = Extract(bytes.NewReader(deb), int64(len(deb)), func(h *tar.Header, r io.Reader) error {
		line := string(h.Typeflag) + " " + h.Name
		if h.Linkname != "" {
			line += " -> " + h.Linkname
		}
		names = append(names, line)
		b, err := io.ReadAll(r)
		contents[h.Name] = string(b)
		return err
	})
	return names, contents, err
}

func TestExtractEveryCompression(t *testing.T) {
	files := []tarFile{
		{name: "./"}, {name: "./usr/"}, {name: "./usr/file", data: "content"},
		{name: "./usr/hard", kind: tar.TypeLink, link: "./usr/file"},
		{name: "./usr/soft", kind: tar.TypeSymlink, link: "../../etc/passwd"},
		{name: "./dev/", mode: 0o700}, {name: "./dev/null", kind: tar.TypeChar, major: 1, minor: 3},
	}
	for _, how := range []string{"", "gz", "xz", "zst"} {
		names, contents, err := extractAll(makeDeb(t, plainControl, files, how))
		want := "5 usr, 0 usr/file, 1 usr/hard -> usr/file, 2 usr/soft -> ../../etc/passwd, 5 dev, 3 dev/null"
		if err != nil || strings.Join(names, ", ") != want || contents["usr/file"] != "content" {
			t.Errorf("%q: got %q %v %v", how, names, contents, err)
		}
	}
}

func TestExtractRefusesHostilePackages(t *testing.T) {
	long := strings.Repeat("x", 300)
	tests := map[string]struct {
		files []tarFile
		says  string
	}{
		"dot dot":                   {[]tarFile{{name: "../evil"}}, `".." in the name`},
		"dot dot inside":            {[]tarFile{{name: "./usr/../../evil"}}, `".." in the name`},
		"harmless dot dot":          {[]tarFile{{name: "./usr/../evil"}}, `".." in the name`},
		"absolute":                  {[]tarFile{{name: "/etc/passwd"}}, "absolute name"},
		"empty":                     {[]tarFile{{name: "./a", kind: tar.TypeLink, link: ""}}, "empty name"},
		"root is a link":            {[]tarFile{{name: ".", kind: tar.TypeSymlink, link: "/tmp"}}, "root is not a directory"},
		"hard link outside":         {[]tarFile{{name: "./a", kind: tar.TypeLink, link: "/etc/shadow"}}, "absolute name"},
		"hard link up":              {[]tarFile{{name: "./a", kind: tar.TypeLink, link: "../../etc/shadow"}}, `".." in the name`},
		"hard link to nothing":      {[]tarFile{{name: "./a", kind: tar.TypeLink, link: "./b"}}, "no file of this package"},
		"hard link to a directory":  {[]tarFile{{name: "./b/"}, {name: "./a", kind: tar.TypeLink, link: "./b"}}, "no file of this package"},
		"below its own link":        {[]tarFile{{name: "./a", kind: tar.TypeSymlink, link: "/tmp"}, {name: "./a/evil", data: "x"}}, "a above it is not a directory"},
		"deep below its own link":   {[]tarFile{{name: "./a", kind: tar.TypeSymlink, link: "/tmp"}, {name: "./a/b/c/evil"}}, "a above it is not a directory"},
		"below a file":              {[]tarFile{{name: "./a", data: "x"}, {name: "./a/evil"}}, "a above it is not a directory"},
		"twice":                     {[]tarFile{{name: "./a", data: "1"}, {name: "a", data: "2"}}, "there twice"},
		"link over a directory":     {[]tarFile{{name: "./a/"}, {name: "./a", kind: tar.TypeSymlink, link: "/tmp"}}, "there twice"},
		"claims more than it says":  {[]tarFile{{name: "./a", size: 1 << 40}}, "more than Installed-Size allows"},
		"really more than it says":  {[]tarFile{{name: "./a", data: strings.Repeat("\x00", 10<<20)}, {name: "./b", data: strings.Repeat("\x00", 10<<20)}}, "more than Installed-Size allows"},
		"long element":              {[]tarFile{{name: "./" + long}}, "path element of 300 bytes"},
		"long name":                 {[]tarFile{{name: "./" + strings.Repeat("x/", 2500)}}, "name of"},
		"link with an empty target": {[]tarFile{{name: "./a", kind: tar.TypeSymlink}}, "bad symbolic link"},
		"cut off":                   {[]tarFile{{name: "./a", size: 5000, data: "short"}}, "unexpected EOF"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, _, err := extractAll(makeDeb(t, plainControl, test.files, "gz"))
			wantError(t, err, test.says)
			if name != "cut off" && !errors.Is(err, ErrHostile) {
				t.Errorf("%v is not ErrHostile", err)
			}
		})
	}
}

// A bomb made of tar headers rather than of content.
func TestExtractBoundsHeaders(t *testing.T) {
	header := makeTar(t, []tarFile{{name: "./a/"}})[:512]
	bomb := bytes.Repeat(header, 4*(unpackedSlack+100<<10)/512+1)
	deb := makeAr(arFile{"debian-binary", []byte("2.0\n")},
		arFile{"control.tar", makeTar(t, []tarFile{{name: "./control", data: plainControl + "\n"}})},
		arFile{"data.tar.zst", compress(t, bomb, "zst")})
	_, _, err := extractAll(deb)
	wantError(t, err, "unpacks to more than its Installed-Size allows")
	if !errors.Is(err, ErrHostile) {
		t.Errorf("%v is not ErrHostile", err)
	}
}

// Sparse files are gigabytes that take no room in the archive: as a file, and as
// the control file, which is read before any limit is known.
func TestExtractRefusesSparseFiles(t *testing.T) {
	sparse := func(name string) []byte {
		h := makeTar(t, []tarFile{{name: name, pax: map[string]string{"VIC.sparse.major": "0", "VIC.sparse.minor": "1",
			"VIC.sparse.name": name, "VIC.sparse.size": "99999999999", "VIC.sparse.numblocks": "1", "VIC.sparse.map": "99999999999,0"}}})
		return bytes.ReplaceAll(h, []byte("VIC."), []byte("GNU."))
	}
	version := arFile{"debian-binary", []byte("2.0\n")}
	control := arFile{"control.tar", makeTar(t, []tarFile{{name: "./control", data: plainControl + "\n"}})}
	for _, deb := range [][]byte{
		makeAr(version, control, arFile{"data.tar", sparse("./usr/a")}),
		makeAr(version, arFile{"control.tar", sparse("./control")}, arFile{"data.tar", makeTar(t, nil)}),
	} {
		_, _, err := extractAll(deb)
		if !errors.Is(err, ErrHostile) {
			t.Errorf("got %v", err)
		}
	}
}

func TestExtractRefusesMalformedArchives(t *testing.T) {
	control := arFile{"control.tar", makeTar(t, []tarFile{{name: "./control", data: plainControl + "\n"}})}
	data := arFile{"data.tar", makeTar(t, []tarFile{{name: "./a"}})}
	version := arFile{"debian-binary", []byte("2.0\n")}
	good := makeAr(version, control, data)
	negative := bytes.Replace(good, []byte("1536      `"), []byte("-60       `"), 1)
	for says, deb := range map[string][]byte{
		"not an ar archive":            []byte("PK\x03\x04"),
		"no control or data":           makeAr(version, control),
		"unexpected member \"data.tar": makeAr(version, data, control),
		"unexpected member \"evil\"":   makeAr(version, arFile{"evil", nil}, control, data),
		"not debian-binary":            makeAr(control, data),
		"of version 2":                 makeAr(arFile{"debian-binary", []byte("3.0\n")}, control, data),
		"claims":                       good[:len(good)-600],
		"read ar header":               append(bytes.Clone(good), "trailing"...),
		"size of ar member":            negative,
		"no control file":              makeAr(version, arFile{"control.tar", makeTar(t, nil)}, data),
		"too large":                    makeDeb(t, "Package: x\nInstalled-Size: 99999999999", nil, "gz"),
		"Installed-Size":               makeDeb(t, "Package: x\nInstalled-Size: -1", nil, "gz"),
		"more than one paragraph":      makeDeb(t, "Package: x\n\nPackage: y", nil, "gz"),
	} {
		_, _, err := extractAll(deb)
		wantError(t, err, says)
	}
	if _, _, err := extractAll(makeAr(version, control, arFile{"_extra", []byte("x")}, data)); err != nil {
		t.Errorf("a member to be skipped: %v", err)
	}
}

func TestExtractStopsWhenTheSinkDoes(t *testing.T) {
	boom := errors.New("enough")
	deb := makeDeb(t, plainControl, []tarFile{{name: "./a"}, {name: "./b"}}, "gz")
	calls := 0
	err := Extract(bytes.NewReader(deb), int64(len(deb)), func(*tar.Header, io.Reader) error { calls++; return boom })
	if !errors.Is(err, boom) || calls != 1 {
		t.Errorf("got %v after %d calls", err, calls)
	}
}

// xz has a check of its own: what Extract says is whole is as it was packed.
func TestExtractNoticesAlteredBytes(t *testing.T) {
	deb := makeDeb(t, plainControl, []tarFile{{name: "./usr/a", data: strings.Repeat("abc", 100)}}, "xz")
	data := bytes.Index(deb, []byte("\xfd7zXZ"))
	for i := data; i < len(deb); i += 7 {
		bad := bytes.Clone(deb)
		bad[i] ^= 0x41
		_, contents, err := extractAll(bad)
		if err == nil && contents["usr/a"] != strings.Repeat("abc", 100) {
			t.Errorf("byte %d: other content, and no error", i)
		}
	}
}
