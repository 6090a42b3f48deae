package accesspoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/accesspoint"
)

// wifi runs wpa_supplicant, and tells what it says. It joins the network, and
// joins it again, for as long as it takes.
func (a appliance) wifi(ctx context.Context) error {
	card, err := need("cards", "wifi")
	if err != nil {
		return err
	}
	if err := errors.Join(a.own.Set("state", accesspoint.Searching), a.own.Set("why", "starting")); err != nil {
		return err
	}
	// 2: routers are listened to although the machine passes on packets itself
	// (Documentation/networking/ip-sysctl.rst).
	if err := setSysctl("net/ipv6/conf/"+strings.ReplaceAll(card, ".", "/")+"/accept_ra", "2"); err != nil {
		return err
	}
	if err := unblock("/dev/rfkill"); err != nil {
		log.Print(err) // wpa_supplicant says so, too, when it matters
	}
	dir := filepath.Join(runDir, "wifi")
	conf, err := a.awaitSecrets(ctx, dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cmd := exec.CommandContext(ctx, "wpa_supplicant", "-D", "nl80211", "-i", card, "-c", conf)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = 3 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		err := cmd.Wait()
		cancel(fmt.Errorf("wpa_supplicant ended: %w", errors.Join(err, ctx.Err())))
	}()
	if err := a.listen(ctx, dir, card); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// awaitSecrets writes the configuration. Where the secrets are missing or wrong,
// there is nothing to do but to say so until there are others.
func (a appliance) awaitSecrets(ctx context.Context, dir string) (conf string, err error) {
	for said := ""; ; {
		conf, wrong := a.writeSupplicant(dir)
		if wrong == nil {
			return conf, nil
		}
		if text := wrong.Error(); text != said {
			said = text
			log.Print(wrong)
		}
		if err := errors.Join(a.own.Set("state", accesspoint.Refused), a.own.Set("why", strings.ReplaceAll(wrong.Error(), "\n", "; "))); err != nil {
			return "", err
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(5 * time.Second):
		}
	}
}

// unblock switches all radios on that software has switched off
// (include/uapi/linux/rfkill.h, struct rfkill_event). A machine without switches has
// no such device.
func unblock(device string) error {
	f, err := os.OpenFile(device, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("switch radios on: %w", err)
	}
	defer f.Close()
	const changeAll, everyType = 3, 0
	if _, err := f.Write([]byte{0, 0, 0, 0, everyType, changeAll, 0, 0}); err != nil {
		return fmt.Errorf("switch radios on: %w", err)
	}
	return nil
}

// writeSupplicant writes the configuration, for root alone.
func (a appliance) writeSupplicant(dir string) (path string, err error) {
	secrets, err := a.secrets()
	if err != nil {
		return "", err
	}
	files := accesspoint.SupplicantFiles{Control: filepath.Join(dir, "control"), CA: filepath.Join(dir, "ca.pem")}
	text, err := accesspoint.Supplicant(a.options, secrets, files)
	if err != nil {
		return "", err
	}
	// A socket of a run before would be taken for that of this one.
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return "", err
	}
	path = filepath.Join(dir, "wpa_supplicant.conf")
	return path, errors.Join(os.WriteFile(path, []byte(text), 0o600), os.WriteFile(files.CA, []byte(secrets.CA), 0o600))
}

// listen follows the events of wpa_supplicant until ctx ends.
func (a appliance) listen(ctx context.Context, dir, card string) error {
	socket := socketIn(filepath.Join(dir, "control"), card)
	commands, err := awaitSupplicant(ctx, filepath.Join(dir, "commands"), socket)
	if err != nil {
		return err
	}
	defer commands.close()
	events, err := awaitSupplicant(ctx, filepath.Join(dir, "events"), socket)
	if err != nil {
		return err
	}
	defer events.close()
	if err := events.attach(); err != nil {
		return err
	}
	lines := make(chan string, 64)
	failed := make(chan error, 1)
	go func() { failed <- events.follow(ctx, func(line string) { lines <- line }) }()
	look, err := newSearch(commands)
	if err != nil {
		return err
	}
	defer look.later.Stop()
	poll := time.NewTicker(10 * time.Second)
	defer poll.Stop()
	for radio := accesspoint.NewRadio(); ; {
		if err := a.tell(radio, card, commands); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case line := <-lines:
			if !look.event(line) {
				radio = radio.Event(line)
			}
		case <-look.later.C:
			look.everywhere()
		case <-poll.C:
		}
	}
}

// tell writes the outputs. associated is there while the network is joined, and has
// another value each time, so that an address is asked for again.
func (a appliance) tell(r accesspoint.Radio, card string, s *supplicant) error {
	if old, _, err := a.own.Get("state"); err == nil && old != r.State {
		log.Print(strings.TrimSuffix(r.State+": "+r.Why, ": "))
	}
	associated := ""
	if r.State == accesspoint.Connected {
		associated = card
	}
	return errors.Join(a.own.Set("state", r.State), a.own.Set("why", r.Why), a.put("associated", associated),
		a.put("bssid", r.BSSID), a.put("signal", strength(r, s)))
}

// strength is what the card receives, in dBm.
func strength(r accesspoint.Radio, s *supplicant) string {
	if r.State != accesspoint.Connected {
		return ""
	}
	answer, err := s.ask("SIGNAL_POLL")
	if err != nil {
		return "" // there is none then; a supplicant that is gone is noticed by its events
	}
	return values(answer)["RSSI"]
}
