package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// generatorPkg is this package, outputPkg embeds what it makes. A change of the generator is a change of what
// it makes.
const (
	outputPkg    = "github.com/victorinix/vic/initramfs/programs"
	generatorPkg = outputPkg + "/generate"
)

// inputsKey hashes everything that the programs for arch are made from: the
// sources of this module that they and the generator need, go.mod and go.sum
// (which pin everything else), the toolchain, and the list of commands.
func inputsKey(arch string, pkgs []string) (key, goVersion string, err error) {
	version, err := goCommand("", target(arch), "env", "GOVERSION", "GOMOD")
	if err != nil {
		return "", "", err
	}
	goVersion, gomod, _ := strings.Cut(strings.TrimSpace(string(version)), "\n")
	files, err := sources(arch, pkgs)
	if err != nil {
		return "", "", err
	}
	root := filepath.Dir(gomod)
	h := sha256.New()
	fmt.Fprintf(h, "%s %s %q %q\n", goVersion, arch, stripped, pkgs)
	for _, file := range append(files, gomod, filepath.Join(root, "go.sum")) {
		b, err := os.ReadFile(file)
		if err != nil {
			return "", "", err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return "", "", err
		}
		fmt.Fprintf(h, "%s %x\n", filepath.ToSlash(rel), sha256.Sum256(b))
	}
	return hex.EncodeToString(h.Sum(nil)), goVersion, nil
}

// sources lists the files of this module that pkgs and the generator are
// compiled from, for arch. What package programs embeds is not among them: it
// is what the generator makes.
func sources(arch string, pkgs []string) ([]string, error) {
	const format = `{{if .Module}}{{if .Module.Main}}{{$d := .Dir}}` +
		`{{range .GoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}` +
		`{{range .SFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}` +
		`{{if ne .ImportPath "` + outputPkg + `"}}{{range .EmbedFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{end}}{{end}}{{end}}`
	args := append([]string{"list", "-deps", "-f", format}, pkgs...)
	out, err := goCommand("", target(arch), append(args, generatorPkg)...)
	if err != nil {
		return nil, err
	}
	var files []string
	for sc := bufio.NewScanner(bytes.NewReader(out)); sc.Scan(); {
		if line := sc.Text(); line != "" {
			files = append(files, line)
		}
	}
	sort.Strings(files)
	return files, nil
}
