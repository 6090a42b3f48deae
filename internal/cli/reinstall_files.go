package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/internal/handover"
	"github.com/victorinix/vic/internal/oneshot"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/plan/reinstall"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/stage/volume"
)

// attemptFiles are the files of an attempt, in a folder that goes away.
type attemptFiles struct {
	dir string
	doc stage.Document
	// at are the paths of the document's files.
	at map[string]string
	// segment follows the initrd that is loaded by kexec.
	boot    builder.StageBoot
	cmdline string
}

func (f *attemptFiles) close() error { return os.RemoveAll(f.dir) }

func (f *attemptFiles) open(name string) (volume.Source, error) { return os.Open(f.at[name]) }

// files makes all files of the attempt.
func (r *reinstallRun) files(ctx context.Context) (f *attemptFiles, err error) {
	archive := r.flags.archive
	archive.lock = "" // is for the payload
	env, err := archive.buildEnv(r.clock, archiveOf{})
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(env.Cache, "stage-")
	if err != nil {
		return nil, err
	}
	f = &attemptFiles{dir: dir, doc: r.document(), at: map[string]string{}}
	f.boot.Cmdline = ramCmdline(r.facts)
	if r.flags.reinstall.bundle != "" { // it may be that there is no archive in reach
		f.boot.Stub, f.boot.GRUB = ownLoaders(r.facts.HW.Arch)
	}
	f.cmdline = r.bundle.StageCmdline(f.boot)
	if err := r.fill(ctx, env, f); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// ownLoaders are the parts of boot loaders that the running system has itself.
func ownLoaders(arch string) (stub, grub string) {
	there := func(path string) bool { _, err := os.Stat(path); return err == nil }
	name := map[string]string{"amd64": "linuxx64", "arm64": "linuxaa64"}[arch]
	if s := "/usr/lib/systemd/boot/efi/" + name + ".efi.stub"; there(s) {
		stub = s
	}
	if g := "/usr/lib/grub/i386-pc"; there(g+"/boot.img") && there("/usr/bin/grub-mkimage") {
		grub = g
	}
	return stub, grub
}

// document is what of it the plan says.
func (r *reinstallRun) document() stage.Document {
	return stage.Document{
		Version: stage.Version, ID: r.id, Created: time.Now().UTC().Truncate(time.Second), Firmware: r.plan.Firmware,
		Disk: plan.Selector(r.plan.Disk), Stage: r.plan.Stage, Core: r.plan.Core, Hop: r.hop(), Extent: r.plan.Extent, Grow: r.plan.Grow,
	}
}

// hop is the plan's, with the boot entry that leads back into the RAM system, which
// arm makes.
func (r *reinstallRun) hop() *stage.Hop {
	if r.plan.Hop == nil {
		return nil
	}
	h := *r.plan.Hop
	if r.plan.Enter.Way == reinstall.BootNext {
		h.Loader = oneshot.FirmwarePath(oneshot.UKI(r.id))
	}
	return &h
}

// fill makes the files in their order: the one that holds the document is the last,
// as it cannot be listed in what it holds.
func (r *reinstallRun) fill(ctx context.Context, env builder.Env, f *attemptFiles) error {
	if err := r.documents(f); err != nil {
		return err
	}
	if r.plan.Core != nil {
		if err := r.core(ctx, env, f); err != nil {
			return err
		}
		if err := f.add(stage.Kernel, r.bundle.Path(builder.KernelFile)); err != nil {
			return err
		}
	}
	if err := r.segment(f); err != nil {
		return err
	}
	name, path := r.holder(f)
	var err error
	if name == stage.Initrd {
		err = writeTo(path, func(w io.Writer) error { return r.bundle.StageInitrd(w, f.boot) })
	} else {
		err = r.bundle.StageUKI(ctx, env, f.boot, path)
	}
	if err != nil {
		return err
	}
	if err := f.add(name, path); err != nil {
		return err
	}
	return r.segment(f) // for kexec: with the hash of the holder
}

// holder is the file of the stage that holds its document.
func (r *reinstallRun) holder(f *attemptFiles) (name, path string) {
	name = stage.Initrd
	if r.plan.Firmware == "uefi" {
		name = stage.UKI(r.facts.HW.Arch)
	}
	return name, filepath.Join(f.dir, filepath.Base(name))
}

// documents are the payload, the request and the secrets.
func (r *reinstallRun) documents(f *attemptFiles) error {
	// It was verified when it was opened or built, and is again as it is written.
	f.at[stage.Payload] = r.image.Path(builder.ImageFile)
	f.doc.Files = append(f.doc.Files, stage.File{Name: stage.Payload, Size: r.req.Payload.Size, SHA256: r.req.Payload.SHA256})
	err := f.write(stage.Request, func(w io.Writer) error { return r.req.Encode(w) })
	if err != nil || len(r.source.secrets.Names()) == 0 {
		return err
	}
	return f.write(stage.Secrets, func(w io.Writer) error { return r.source.secrets.EncodeForTarget(w) })
}

// core makes GRUB for the stage.
func (r *reinstallRun) core(ctx context.Context, env builder.Env, f *attemptFiles) error {
	disk, err := r.disk()
	if err != nil {
		return err
	}
	sector, err := firstSector(disk)
	if err != nil {
		return err
	}
	boot, core, err := r.bundle.StageCore(ctx, env, f.boot, builder.Range{Offset: r.plan.Stage.Offset, Size: r.plan.Stage.Size},
		builder.Range{Offset: r.plan.Core.Offset, Size: r.plan.Core.Size}, stage.InVolume(stage.Kernel), stage.InVolume(stage.Initrd))
	if err != nil {
		return err
	}
	f.doc.BootCode, f.doc.OldBootCode = boot, sector[:len(boot)]
	return f.write(stage.CoreImage, func(w io.Writer) error { _, err := w.Write(core); return err })
}

// segment makes what follows the initrd: the document as it is now, and by what the
// machine is known.
func (r *reinstallRun) segment(f *attemptFiles) error {
	var doc, told, out bytes.Buffer
	if err := f.doc.Encode(&doc); err != nil {
		return err
	}
	files := map[string][]byte{stage.Path: doc.Bytes()}
	for path, key := range r.known.Keys {
		files[path] = key
	}
	if len(r.before.AuthorizedKeys) > 0 {
		if err := r.before.Encode(&told); err != nil {
			return err
		}
		files[handover.Path] = told.Bytes()
	}
	err := builder.StageSegment(&out, files)
	f.boot.Segment = out.Bytes()
	return err
}

// write makes a file of the stage that root alone may read.
func (f *attemptFiles) write(name string, content func(io.Writer) error) error {
	path := filepath.Join(f.dir, filepath.Base(name))
	if err := writeTo(path, content); err != nil {
		return err
	}
	return f.add(name, path)
}

func writeTo(path string, content func(io.Writer) error) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(content(out), out.Close())
}

// add lists a file, with its hash.
func (f *attemptFiles) add(name, path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(sum, in)
	if err := errors.Join(err, in.Close()); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	f.at[name] = path
	f.doc.Files = append(f.doc.Files, stage.File{Name: name, Size: n, SHA256: fmt.Sprintf("%x", sum.Sum(nil))})
	return nil
}

// ownKeys are the keys with which a user may log in, without those that may do less.
func ownKeys(root, user string) ([]string, error) {
	home := "/root"
	if user != "root" {
		text, err := os.ReadFile(filepath.Join(root, "etc/passwd"))
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Split(strings.TrimSpace(line), ":"); len(f) > 5 && f[0] == user {
				home = f[5]
			}
		}
	}
	var keys []string
	for _, name := range []string{"authorized_keys", "authorized_keys2"} {
		text, err := os.ReadFile(filepath.Join(root, home, ".ssh", name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the authorized keys of %s: %w", user, err)
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			if _, _, options, _, err := ssh.ParseAuthorizedKey([]byte(line)); err == nil && len(options) == 0 {
				keys = append(keys, line)
			}
		}
	}
	return keys, nil
}
