package images_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/victorinix/vic/images"
)

func TestLayoutHasTheRootTypeOfTheArchitecture(t *testing.T) {
	for arch, want := range map[string]string{
		"amd64": "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
		"arm64": "B921B045-1DF0-41C3-AF44-4C6F280D3FAE",
	} {
		text, err := images.Layout(images.DefaultLayout, arch)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Devices struct {
				Disk map[string]struct {
					Content struct {
						Partitions map[string]struct{ Type, Size string }
					}
				}
			}
		}
		if err := yaml.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		parts := doc.Devices.Disk["main"].Content.Partitions
		if got := parts["root"].Type; got != want {
			t.Errorf("%s: root has type %s, want %s", arch, got, want)
		}
		if parts["bios"].Size != "1M" || parts["esp"].Size != "512M" {
			t.Errorf("%s: got %+v", arch, parts)
		}
	}
}

func TestLayoutRefuses(t *testing.T) {
	if _, err := images.Layout("none", "amd64"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unknown layout: got %v", err)
	}
	if _, err := images.Layout(images.DefaultLayout, "m68k"); err == nil || !strings.Contains(err.Error(), "m68k") {
		t.Errorf("unknown architecture: got %v", err)
	}
}
