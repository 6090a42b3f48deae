package layout

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/victorinix/vic/internal/lazyregexp"
	"github.com/victorinix/vic/internal/tool"
)

// Load reads a layout from a file: .yaml, .yml or .json, or .nix, which is
// evaluated with nix-instantiate. The value of a .nix file may be a function:
// it is called with lib, pkgs and the like where it asks for them, and with its
// own defaults for everything else.
func Load(ctx context.Context, run tool.Runner, path string) (Layout, error) {
	switch ext := filepath.Ext(path); ext {
	case ".nix":
		return evaluate(ctx, run, path)
	case ".yaml", ".yml", ".json":
	default:
		return Layout{}, fmt.Errorf("read layout %s: expected a file that ends in .yaml, .json or .nix", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Layout{}, fmt.Errorf("read layout: %w", err)
	}
	return Parse(path, data)
}

// evaluationTime is the most that an evaluation may take.
const evaluationTime = time.Minute

// evaluate has Nix compute the layout. Nothing is built and nothing is written:
// the store is Nix's dummy, and everything else that Nix may want to keep goes
// into a directory that is removed again.
func evaluate(ctx context.Context, run tool.Runner, path string) (Layout, error) {
	full, err := filepath.Abs(path)
	if err != nil {
		return Layout{}, fmt.Errorf("evaluate %s: %w", path, err)
	}
	if _, err := os.Stat(full); err != nil { // Nix says it in five lines
		return Layout{}, fmt.Errorf("read layout: %w", err)
	}
	dir, err := os.MkdirTemp("", "vic-nix-")
	if err != nil {
		return Layout{}, fmt.Errorf("evaluate %s: %w", path, err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(ctx, evaluationTime)
	defer cancel()
	out, err := run.Run(ctx, evaluation(full, dir, os.Getenv))
	if err != nil {
		return Layout{}, fmt.Errorf("evaluate %s: %w", path, explain(string(out.Stderr), err))
	}
	if err := storePaths(out.Stdout); err != nil {
		return Layout{}, fmt.Errorf("evaluate %s: %w", path, err)
	}
	l, errs := parse(path, out.Stdout)
	for _, e := range errs {
		e.Line, e.Column = 0, 0 // they count in Nix's output
	}
	return l, join(errs)
}

// evaluation is the command; dir is for what Nix may want to write.
func evaluation(full, dir string, getenv func(string) string) tool.Cmd {
	c := tool.Cmd{
		Name: "nix-instantiate",
		Args: []string{"--store", "dummy://", "--eval", "--strict", "--json", "--expr", wrapper, "--argstr", "path", full},
		Dir:  filepath.Dir(full),
		Env: []string{
			"NIX_STATE_DIR=" + dir, "NIX_LOG_DIR=" + dir,
			"XDG_CACHE_HOME=" + dir, "XDG_STATE_HOME=" + dir, "XDG_DATA_HOME=" + dir,
		},
	}
	for _, key := range []string{"HOME", "NIX_PATH"} { // where nixpkgs is looked for
		if value := getenv(key); value != "" {
			c.Env = append(c.Env, key+"="+value)
		}
	}
	return c
}

// wrapper calls the file's function, takes disko's part out of a NixOS module,
// and resolves mkDefault, mkForce and mkIf as far as that needs no other module.
const wrapper = `
{ path }:
let
  file = import path;
  missing = name: throw "the layout asks for the argument ${name}: only a whole NixOS configuration has it";
  known = {
    lib = import <nixpkgs/lib>;
    pkgs = import <nixpkgs> { };
  };
  give = name: known.${name} or (missing name);
  asked = builtins.functionArgs file;
  required = builtins.filter (name: !asked.${name}) (builtins.attrNames asked);
  arguments =
    if asked == { } then known // { config = missing "config"; options = missing "options"; }
    else builtins.listToAttrs (map (name: { inherit name; value = give name; }) required);
  value = if builtins.isFunction file then file arguments else file;
  off = v: builtins.isAttrs v && v._type or "" == "if" && !v.condition;
  plain = v:
    if builtins.isList v then map plain (builtins.filter (e: !off e) v)
    else if !builtins.isAttrs v || v ? outPath then v
    else if !(v ? _type) then
      builtins.mapAttrs (name: plain) (removeAttrs v (builtins.filter (name: off v.${name}) (builtins.attrNames v)))
    else if builtins.elem v._type [ "override" "order" "if" ] then plain v.content
    else throw "the layout uses ${v._type}: only a whole NixOS configuration resolves that";
in
plain (value.disko.devices or value.config.disko.devices or value.devices or value)
`

// explain finds the reason in what Nix says.
func explain(stderr string, err error) error {
	if errors.Is(err, tool.ErrNotFound) {
		return fmt.Errorf("nix-instantiate is not installed (Debian's package nix-bin): %w", err)
	}
	if m := notFound.FindStringSubmatch(stderr); m != nil {
		return fmt.Errorf("it uses <%s>, and there is no nixpkgs on NIX_PATH: set it, or write the layout without lib and pkgs", m[1])
	}
	_, said, ok := strings.Cut("\n"+stderr, "\nerror: ")
	if !ok {
		return err
	}
	reason := strings.Join(strings.Fields(said), " ")
	return evaluationError{strings.TrimSuffix(reason, " "+traceHint), err}
}

const traceHint = "(use '--show-trace' to show detailed location information)"

// evaluationError is a failed evaluation in Nix's words, without the command.
type evaluationError struct {
	reason string
	err    error
}

func (e evaluationError) Error() string { return e.reason }
func (e evaluationError) Unwrap() error { return e.err }

var notFound = lazyregexp.New(`file '([^']*)' was not found in the Nix search path`)

var inStore = lazyregexp.New(`/nix/store/[0-9a-z]{32}-[^"\\\s:]*`)

// storePaths refuses paths that Nix would first have to build or to copy.
func storePaths(data []byte) error {
	var missing []string
	for _, m := range inStore.FindAll(data, -1) {
		if _, err := os.Stat(string(m)); err != nil {
			missing = append(missing, string(m))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("it names %s, which is not there: vic builds nothing with Nix; write the path as a string", strings.Join(missing, ", "))
	}
	return nil
}
