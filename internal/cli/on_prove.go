package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/remote"
)

// askWho is what a system is asked, to know it by the answer.
const askWho = "hostname && uname -r && findmnt -no UUID / && cat /etc/machine-id && " + askNICs

// provePause is between two attempts to reach a system that starts.
const provePause = 3 * time.Second

// prove waits for the new system to answer, with the host keys that it was
// installed with, and compares what answers with what was installed.
func (v *visitor) prove(ctx context.Context, want event.Result) error {
	v.phase(event.Prove, event.Start)
	limit := v.flags.proveTimeout
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the installed system did not answer within %v", limit))
	defer cancel()
	host := v.there.host
	host.User = v.login
	s, err := remote.OpenPinned(host, v.there.flags.sshConfig, remote.PinnedOptions{HostKeys: want.HostKeys})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // the proof is there, or not
	var answer []byte
	for {
		// Also another host key may be a matter of time: with a new identity, the
		// RAM system has that of the machine before.
		if answer, err = s.Run(ctx, askWho, nil); err == nil {
			err = v.compare(want, string(answer))
		}
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return fail(exitNoAnswer, fmt.Errorf("prove the installed system: %w: last: %w", context.Cause(ctx), err), "the install itself is complete: look at its console")
		case <-time.After(provePause):
		}
	}
	v.clock.Emit(event.Event{Phase: event.Prove, State: event.Done, Result: &want, Message: want.Hostname + " answered"})
	v.summary = fmt.Sprintf("%s: %s answered: host key %s, kernel %s, root file system %s, machine-id %s; %s",
		v.there.host, want.Hostname, fingerprint(want.HostKeys), want.Kernel, want.RootUUID, strings.Fields(string(answer))[3], v.clock)
	return nil
}

// compare tells whether it was the new system that answered: the RAM system and
// the one before have the same host key.
func (v *visitor) compare(want event.Result, answer string) error {
	words := strings.Fields(answer)
	if len(words) < 4 {
		return fmt.Errorf("it answered %q", answer)
	}
	if words[0] != want.Hostname || words[1] != want.Kernel || words[2] != want.RootUUID {
		return fmt.Errorf("another system answered: it is %s with kernel %s on %s, installed was %s with %s on %s",
			words[0], words[1], words[2], want.Hostname, want.Kernel, want.RootUUID)
	}
	if id := v.req.System.Identity; id != nil && id.MachineID != "" && words[3] != id.MachineID {
		return fmt.Errorf("its machine-id is %s, it was to keep %s", words[3], id.MachineID)
	}
	return checkNICs(want.NICs, answer)
}

// fingerprint is that of the host key that people are shown.
func fingerprint(keys []string) string {
	var first string
	for _, line := range keys {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		switch {
		case err != nil:
		case key.Type() == ssh.KeyAlgoED25519:
			return ssh.FingerprintSHA256(key)
		case first == "":
			first = ssh.FingerprintSHA256(key)
		}
	}
	return first
}
