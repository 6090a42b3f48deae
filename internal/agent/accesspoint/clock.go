package accesspoint

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/accesspoint"
)

// How often the time is asked for: soon after a failure, later less often, and
// seldom when it is known. Public servers ask for no more (RFC 4330 §10).
const (
	firstAsk  = 4 * time.Second
	seldomAsk = 34 * time.Minute
	// jump is the largest error that is taken back slowly.
	jump = 500 * time.Millisecond
	// askedServers is how many addresses are asked at a time.
	askedServers = 4
)

// clock sets the clock by NTP. A machine without one of its own begins in 1970: at
// least it is not before the image was made.
func (a appliance) clock(ctx context.Context) error {
	if err := notBefore(accesspoint.OptionsPath); err != nil {
		return err
	}
	pause := firstAsk
	for {
		offset, err := askAll(ctx, a.options.NTP)
		if err == nil {
			err = errors.Join(correct(offset), a.own.Set("synced", "yes"))
		}
		if err == nil {
			pause = seldomAsk
		} else {
			log.Printf("%v; asking again in %v", err, pause)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		if pause = min(2*pause, seldomAsk); err == nil {
			pause = firstAsk
		}
	}
}

func notBefore(path string) error {
	st, err := os.Stat(path)
	if err != nil || !time.Now().Before(st.ModTime()) {
		return err
	}
	return setClock(st.ModTime())
}

func setClock(t time.Time) error {
	tv := unix.NsecToTimeval(t.UnixNano())
	if err := unix.Settimeofday(&tv); err != nil {
		return fmt.Errorf("set the clock: %w", err)
	}
	return nil
}

// correct sets the clock, or has the kernel speed it up or slow it down.
func correct(offset time.Duration) error {
	if offset > jump || offset < -jump {
		log.Printf("the clock is set by %v", offset.Round(time.Millisecond))
		return setClock(time.Now().Add(offset))
	}
	tx := unix.Timex{Modes: unix.ADJ_OFFSET_SINGLESHOT}
	tx.Offset = offset.Microseconds()
	if _, err := unix.Adjtimex(&tx); err != nil {
		return fmt.Errorf("adjust the clock: %w", err)
	}
	return nil
}

// askAll asks some of the servers, and believes the majority.
func askAll(ctx context.Context, servers []string) (time.Duration, error) {
	var offsets []time.Duration
	var errs []error
	for _, name := range servers {
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		if err != nil {
			errs = append(errs, fmt.Errorf("find time server: %w", err))
			continue
		}
		for _, addr := range addrs[:min(len(addrs), askedServers)] {
			offset, err := ask(ctx, net.JoinHostPort(addr.Unmap().String(), "123"))
			if err != nil {
				errs = append(errs, err)
				continue
			}
			offsets = append(offsets, offset)
		}
	}
	if len(offsets) == 0 {
		return 0, errors.Join(append(errs, errors.New("no time server answers"))...)
	}
	return accesspoint.Median(offsets), nil
}

// ask asks one server.
func ask(ctx context.Context, addr string) (time.Duration, error) {
	d := net.Dialer{Timeout: 2 * time.Second}
	conn, err := d.DialContext(ctx, "udp", addr)
	if err != nil {
		return 0, fmt.Errorf("ask for the time: %w", err)
	}
	defer conn.Close()
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return 0, err
	}
	cookie := binary.BigEndian.Uint64(random[:])
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return 0, err
	}
	sent := time.Now()
	if _, err := conn.Write(accesspoint.SNTPRequest(cookie)); err != nil {
		return 0, fmt.Errorf("ask %s for the time: %w", addr, err)
	}
	b := make([]byte, 512)
	n, err := conn.Read(b)
	if err != nil {
		return 0, fmt.Errorf("ask %s for the time: %w", addr, err)
	}
	offset, err := accesspoint.SNTPOffset(b[:n], cookie, sent, time.Now())
	if err != nil {
		return 0, fmt.Errorf("ask %s for the time: %w", addr, err)
	}
	return offset, nil
}
