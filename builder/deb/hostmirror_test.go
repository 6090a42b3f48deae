package deb

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestHostMirror(t *testing.T) {
	tests := map[string]struct {
		files map[string]string
		want  string
	}{
		"deb822": {map[string]string{"sources.list.d/debian.sources": "Types: deb\n# a comment\nURIs: http://mirror.example/debian/\nSuites: bookworm bookworm-updates\nComponents: main\n\n" +
			"Types: deb\nURIs: http://mirror.example/debian-security\nSuites: bookworm-security\nComponents: main\n"}, "http://mirror.example/debian"},
		"one line": {map[string]string{"sources.list": "# deb http://no.example/debian sid main\ndeb-src http://src.example/debian sid main\n" +
			"deb http://security.example/debian-security trixie-security main\ndeb\t[arch=amd64 signed-by=/x] https://mirror.example/debian trixie main contrib # end\n"}, "https://mirror.example/debian"},
		"third parties first": {map[string]string{
			"sources.list.d/a.list":    "deb https://packages.example/apt cloud main\ndeb https://node.example/node_20.x nodistro main\n",
			"sources.list.d/b.sources": "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie\nComponents: main\n"}, "http://mirror.example/debian"},
		"disabled": {map[string]string{"sources.list.d/a.sources": "Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: trixie\nComponents: main\n\n" +
			"Types: deb deb-src\nURIs: http://on.example/debian\nSuites: trixie\nComponents: main\n"}, "http://on.example/debian"},
		"another path": {map[string]string{"sources.list": "deb http://mirror.example/copies/deb trixie main\ndeb http://mirror.example/later trixie main\n"}, "http://mirror.example/copies/deb"},
		"path wins":    {map[string]string{"sources.list": "deb http://mirror.example/copies/deb trixie main\ndeb http://mirror.example/debian trixie main\n"}, "http://mirror.example/debian"},
		"file":         {map[string]string{"sources.list": "deb cdrom:[Debian]/debian trixie main\ndeb file:///srv/debian trixie main\n"}, "file:///srv/debian"},
		"other system": {map[string]string{"sources.list": "deb http://archive.example/ubuntu noble main universe\n"}, ""},
		"backup files": {map[string]string{"sources.list.d/a.list.save": "deb http://mirror.example/debian trixie main\n"}, ""},
		"no sources":   {nil, ""},
		"nonsense":     {map[string]string{"sources.list": "deb\ndeb [\ndeb x\n: :\n"}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for file, text := range test.files {
				path := filepath.Join(root, "etc/apt", file)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			got, err := HostMirror(root)
			if got != test.want || (err == nil) != (test.want != "") {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}
