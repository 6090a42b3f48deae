package layout

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

const nixDevices = `{
  disk.main = {
    type = "disk";
    device = builtins.elemAt disks 0;
    content = {
      type = "gpt";
      partitions = {
        boot = { size = "1M"; type = "EF02"; };
        ESP = {
          size = "512M";
          type = "EF00";
          content = {
            type = "filesystem"; format = "vfat"; mountpoint = "/boot/efi";
            mountOptions = [ "umask=0077" ]; extraArgs = [ "-n" "EFI" ];
          };
        };
        root = {
          size = "100%"; type = "8304"; uuid = null;
          content = { type = "filesystem"; format = "ext4"; mountpoint = "/"; mountOptions = [ "noatime" ]; };
        };
      };
    };
  };
}`

// evaluateText loads text as a .nix file, and wants nothing left behind.
func evaluateText(t *testing.T, text string) (Layout, error) {
	t.Helper()
	run := tooltest.Need(t, "nix-instantiate")
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	_, before := os.Stat("/nix")
	file := filepath.Join(t.TempDir(), "disks.nix")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Load(t.Context(), run, file)
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if _, after := os.Stat("/nix"); (before == nil) != (after == nil) {
		t.Errorf("/nix: before %v, after %v", before, after)
	}
	return l, err
}

func TestLoadNix(t *testing.T) {
	want := mustParse(t, standard)
	module := strings.ReplaceAll(nixDevices, "builtins.elemAt disks 0", `lib.mkDefault "/dev/vda"`)
	lib := `{ mkDefault = content: { _type = "override"; priority = 1000; inherit content; };
		mkIf = condition: content: { _type = "if"; inherit condition content; }; }`
	for name, text := range map[string]string{
		"function":  `{ disks ? [ "/dev/vda" ], ... }: { disko.devices = ` + nixDevices + `; }`,
		"devices":   `{ disks ? [ "/dev/vda" ] }: { devices = ` + nixDevices + `; }`,
		"bare":      `let disks = [ "/dev/vda" ]; in ` + nixDevices,
		"module":    `{ lib, ... }: { disko.devices = ` + module + `; fileSystems."/".neededForBoot = true; }`,
		"config":    `{ config, lib, pkgs, ... }: { config = { disko.devices = ` + module + `; }; }`,
		"mkIf":      `{ lib, ... }: { disko.devices = ` + module + ` // { nodev."/tmp" = lib.mkIf false { fsType = "tmpfs"; }; }; }`,
		"any":       `args: { disko.devices = with args; ` + module + `; }`,
		"defaulted": `{ lib ? import <nixpkgs/lib>, ... }: { disko.devices = ` + module + `; }`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := errors.Join(os.Mkdir(filepath.Join(dir, "lib"), 0o700), os.WriteFile(filepath.Join(dir, "lib/default.nix"), []byte(lib), 0o600)); err != nil {
				t.Fatal(err)
			}
			t.Setenv("NIX_PATH", "nixpkgs="+dir)
			t.Setenv("HOME", "/nonexistent")
			l, err := evaluateText(t, text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, l, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLoadNixErrors(t *testing.T) {
	t.Setenv("NIX_PATH", "")
	t.Setenv("HOME", "/nonexistent")
	for name, tt := range map[string]struct{ text, want string }{
		"syntax":   {`{ disko = `, "syntax error"},
		"nixpkgs":  {`{ lib, ... }: { disk.a.device = lib.mkDefault "/dev/vda"; }`, "it uses <nixpkgs/lib>, and there is no nixpkgs on NIX_PATH"},
		"argument": {`{ inputs }: { disk = inputs.x; }`, "the layout asks for the argument inputs"},
		"config":   {`{ config, ... }: { disk = config.x; }`, "the layout asks for the argument config"},
		"merge":    {`{ disk = { _type = "merge"; contents = [ ]; }; }`, "the layout uses merge"},
		"path":     {`{ disk.a = { device = "/dev/vda"; content = { type = "luks"; name = "x"; passwordFile = "${./disks.nix}"; }; }; }`, "write the path as a string"},
		"layout":   {`{ disk.a = { device = "/dev/vda"; content = { type = "gtp"; }; }; }`, `disks.nix: disk.a.content.type: unknown content type "gtp"; did you mean "gpt"?`},
		"nothing":  {`{ }`, "no disk is described"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := evaluateText(t, tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

type noNix struct{}

func (noNix) Run(_ context.Context, c tool.Cmd) (tool.Output, error) {
	return tool.Output{}, &tool.Error{Cmd: c, Exit: -1, Err: tool.ErrNotFound}
}

func TestLoadFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	if l, err := Load(t.Context(), noNix{}, write("a.yaml", standard)); err != nil || len(l.Disk) != 1 {
		t.Errorf("got %v %v", l, err)
	}
	for file, want := range map[string]string{
		write("a.nix", "{}"):             "nix-instantiate is not installed",
		write("a.toml", ""):              "expected a file that ends in .yaml, .json or .nix",
		filepath.Join(dir, "none.json"):  "no such file",
		filepath.Join(dir, "none.nix"):   "no such file",
		write("b.json", `{"disk": {]}}`): "b.json:1:",
	} {
		if _, err := Load(t.Context(), noNix{}, file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", file, err, want)
		}
	}
}
