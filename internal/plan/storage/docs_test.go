package storage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The documentation shows every example as it is tested.
func TestDocsShowTheExamples(t *testing.T) {
	const path, heading = "../../../docs/layouts.md", "\n## Examples\n"
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(doc), heading)
	if !ok {
		t.Fatalf("%s has no %q", path, heading)
	}
	want := head + heading + "\nEach of these is a file in disk/layout/testdata/examples, planned in the tests.\n"
	files, err := filepath.Glob(examples + "/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples (%v)", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want += "\n### " + filepath.Base(file) + "\n\n```yaml\n" + strings.TrimRight(string(text), "\n") + "\n```\n"
	}
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(doc) != want {
		t.Errorf("%s does not show the examples as they are (go test -update mends it)", path)
	}
}
