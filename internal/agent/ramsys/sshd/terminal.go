package sshd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// terminal is a pseudoterminal of a session.
type terminal struct {
	kind   string   // for TERM
	master *os.File // this side
	tty    *os.File // that of the process
}

// allocate serves pty-req, RFC 4254 §6.2.
func (s *session) allocate(payload []byte) error {
	var msg struct {
		Kind                      string
		Cols, Rows, Width, Height uint32
		Modes                     string
	}
	if err := ssh.Unmarshal(payload, &msg); err != nil {
		return err
	}
	if !s.conn.key.pty {
		return errors.New("not allowed for this key")
	}
	if s.term != nil || s.run != nil {
		return errors.New("it comes too late")
	}
	if strings.ContainsAny(msg.Kind, "\x00\n") || len(msg.Kind) > maxEnvValue {
		return errors.New("the type of the terminal is malformed")
	}
	t, err := openTerminal()
	if err != nil {
		return err
	}
	t.kind = msg.Kind
	if err := errors.Join(t.setSize(msg.Cols, msg.Rows, msg.Width, msg.Height), t.setModes(msg.Modes)); err != nil {
		t.close()
		return err
	}
	s.term = t
	return nil
}

func openTerminal() (*terminal, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	number := 0
	err = control(master, func(fd int) (err error) {
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return fmt.Errorf("unlock the terminal: %w", err)
		}
		number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		return err
	})
	if err != nil {
		master.Close()
		return nil, err
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		master.Close()
		return nil, err
	}
	return &terminal{master: master, tty: tty}, nil
}

// control runs f on the descriptor of a file, which os.File.Fd would make
// blocking.
func control(file *os.File, f func(fd int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// close may be called at any time, also without a terminal.
func (t *terminal) close() {
	if t != nil {
		t.master.Close()
		t.tty.Close()
	}
}

func (t *terminal) setSize(cols, rows, width, height uint32) error {
	return control(t.master, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{
			Col: uint16(cols), Row: uint16(rows), Xpixel: uint16(width), Ypixel: uint16(height),
		})
	})
}

// resize serves window-change, RFC 4254 §6.7. The kernel sends SIGWINCH.
func (t *terminal) resize(payload []byte) error {
	var msg struct{ Cols, Rows, Width, Height uint32 }
	if err := ssh.Unmarshal(payload, &msg); err != nil {
		return err
	}
	if t == nil {
		return errors.New("there is no terminal")
	}
	return t.setSize(msg.Cols, msg.Rows, msg.Width, msg.Height)
}

// lastBytes is more than the kernel holds for a terminal.
const lastBytes = 256 << 10

// readTerminal sends what is written to the terminal until everybody has closed
// it. Programs in the background may keep it open for ever: after the leader has
// ended, what is there is read, and no more.
func (p *process) readTerminal(w io.Writer) {
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-p.exited:
			_ = p.out.SetReadDeadline(time.Now().Add(p.words)) // wakes the read that is going on
		case <-stop:
		}
	}()
	buf := make([]byte, 32<<10)
	for left := lastBytes; left > 0; {
		n, err := p.out.Read(buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil { // EIO when nobody has it open
			return
		}
		select {
		case <-p.exited: // a client that reads slowly may have used up the time
			left -= n
			_ = p.out.SetReadDeadline(time.Now().Add(p.words))
		default:
		}
	}
}
