package cli

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// proof is what the installed system says of itself.
type proof struct {
	hostname, kernel, rootUUID, fingerprint string
}

// prove boots the disk alone and has the installed system answer by SSH, with
// the host key that was made for it. What it writes is thrown away: the disk
// stays as it was installed, with its first boot still to come.
//
// The key to log in with is made for this one boot, and handed over as a
// systemd credential (systemd.system-credentials(7), ssh.authorized_keys.root).
// The passphrases of LUKS containers are typed on the console when it asks.
func (r *vmRun) prove(ctx context.Context, want event.Result) error {
	r.phase(event.Prove, event.Start)
	ctx, cancel := context.WithTimeoutCause(ctx, r.flags.proveTimeout,
		fmt.Errorf("the installed system did not answer within %v", r.flags.proveTimeout))
	defer cancel()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return err
	}
	c := r.config("prove")
	c.NoReboot = false
	for i := range c.Disks {
		c.Disks[i].Snapshot = true
	}
	c.NICs[0].Forward = []int{22}
	c.Credentials = map[string]string{"ssh.authorized_keys.root": string(ssh.MarshalAuthorizedKey(signer.PublicKey()))}
	m, err := vm.Run(ctx, c)
	if err != nil {
		return fail(exitNoAnswer, err, "")
	}
	defer m.Close()
	got, err := r.unlockAndAsk(ctx, m, signer, want)
	if err != nil {
		return fail(exitNoAnswer, fmt.Errorf("prove the installed system: %w\n%s", err, m.ConsoleTail(20)), "kept: "+r.disks.paths())
	}
	r.clock.Emit(event.Event{Phase: event.Prove, State: event.Done, Result: &want, Message: got.hostname + " answered"})
	if r.flags.json {
		return nil
	}
	_, err = fmt.Fprintf(r.stdout, "%s answered: host key %s, kernel %s, root file system %s, disk %s; %s\n",
		got.hostname, got.fingerprint, got.kernel, got.rootUUID, r.disks.paths(), r.clock)
	return err
}

// unlockAndAsk types the passphrases that the system asks for on its way to an
// answer.
func (r *vmRun) unlockAndAsk(ctx context.Context, m *vm.Machine, signer ssh.Signer, want event.Result) (proof, error) {
	type outcome struct {
		typed int
		err   error
	}
	keys, unlocked := passphrases(r.source.secrets), make(chan outcome, 1)
	typing, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		n, err := unlock(typing, m, keys)
		unlocked <- outcome{n, err}
	}()
	p, err := ask(ctx, m, signer, want)
	stop()
	o := <-unlocked
	if err != nil && o.err == nil && o.typed == 0 && len(keys) > 0 {
		err = fmt.Errorf("%w (nobody asked for the passphrase of %s on the serial console; -o kernel-params=%s makes it one)",
			err, strings.Join(slices.Sorted(maps.Keys(keys)), ", "), serialConsole(r.arch))
	}
	return p, errors.Join(err, o.err)
}

// ask logs in and compares what answers with what was installed.
func ask(ctx context.Context, m *vm.Machine, signer ssh.Signer, want event.Result) (proof, error) {
	var pinned []ssh.PublicKey
	for _, line := range want.HostKeys {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			return proof{}, fmt.Errorf("parse host key %q: %w", line, err)
		}
		pinned = append(pinned, key)
	}
	client, err := m.SSH(ctx, vm.SSHConfig{Signer: signer, HostKeys: pinned})
	if err != nil {
		return proof{}, err
	}
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return proof{}, err
	}
	defer session.Close()
	out, err := session.Output("hostname && uname -r && findmnt -no UUID / && " + askNICs)
	if err != nil {
		return proof{}, fmt.Errorf("ask who it is: %w", err)
	}
	words := strings.Fields(string(out))
	if len(words) < 3 {
		return proof{}, fmt.Errorf("ask who it is: it answered %q", out)
	}
	p := proof{words[0], words[1], words[2], ""}
	if p.hostname != want.Hostname || p.kernel != want.Kernel || p.rootUUID != want.RootUUID {
		return p, fmt.Errorf("another system answered: it is %s with kernel %s on %s, installed was %s with %s on %s",
			p.hostname, p.kernel, p.rootUUID, want.Hostname, want.Kernel, want.RootUUID)
	}
	if err := checkNICs(want.NICs, string(out)); err != nil {
		return p, err
	}
	for _, key := range pinned {
		if key.Type() == ssh.KeyAlgoED25519 {
			p.fingerprint = ssh.FingerprintSHA256(key)
		}
	}
	return p, nil
}
