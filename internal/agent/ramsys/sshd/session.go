package sshd

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// session is a channel that a program runs on, at most one.
type session struct {
	conn *conn
	ch   ssh.Channel
	env  []string
	term *terminal
	run  program
}

// program is what a session runs: a process, or the sftp server.
type program interface {
	// connect moves data between the program and the channel.
	connect(ch ssh.Channel)
	// done is closed when the program has ended and all that it said is sent.
	done() <-chan struct{}
	signal(syscall.Signal) error
	// finish is called after done; it returns how the program ended.
	finish() syscall.WaitStatus
	// hangUp ends the program of a client that has gone.
	hangUp()
}

// session serves a channel until its program has ended or its client is gone.
func (c *conn) session(nch ssh.NewChannel) {
	ch, requests, err := nch.Accept()
	if err != nil {
		return // the connection is broken
	}
	s := &session{conn: c, ch: ch}
	defer func() {
		_ = ch.Close() // when it was closed from the other side: nothing to do
		s.term.close()
		go ssh.DiscardRequests(requests)
	}()
	for {
		select {
		case req, ok := <-requests:
			if !ok {
				if s.run != nil {
					s.run.hangUp()
				}
				return
			}
			s.request(req)
		case <-s.ended():
			s.tell(s.run.finish())
			return
		}
	}
}

// ended never reports before there is a program.
func (s *session) ended() <-chan struct{} {
	if s.run == nil {
		return nil
	}
	return s.run.done()
}

// request serves a request and answers it. Output of a program comes after the
// answer to what started it.
func (s *session) request(req *ssh.Request) {
	running := s.run != nil
	err := s.serve(req.Type, req.Payload)
	if err != nil {
		s.conn.server.Log("%s: %s refused: %v", s.conn.RemoteAddr(), req.Type, err)
	}
	_ = req.Reply(err == nil, nil) // a broken connection closes the requests
	if !running && s.run != nil {
		s.run.connect(s.ch)
	}
}

var errUnknownRequest = errors.New("it is not supported")

func (s *session) serve(kind string, payload []byte) error {
	switch kind {
	case "env":
		return s.setEnv(payload)
	case "pty-req":
		return s.allocate(payload)
	case "window-change":
		return s.term.resize(payload)
	case "shell":
		return s.start("", false)
	case "exec":
		var msg struct{ Command string }
		if err := ssh.Unmarshal(payload, &msg); err != nil {
			return err
		}
		if msg.Command == "" {
			return errors.New("the command is empty")
		}
		return s.start(msg.Command, false)
	case "subsystem":
		return s.subsystem(payload)
	case "signal":
		return s.signal(payload)
	}
	return errUnknownRequest
}

// maxEnv bounds what a client can add to the environment, in variables and in
// bytes each.
const maxEnv, maxEnvValue = 64, 4096

// setEnv accepts what is about language and terminal: everything else could
// change what programs do.
func (s *session) setEnv(payload []byte) error {
	var msg struct{ Name, Value string }
	if err := ssh.Unmarshal(payload, &msg); err != nil {
		return err
	}
	if msg.Name != "LANG" && msg.Name != "TERM" && !strings.HasPrefix(msg.Name, "LC_") {
		return fmt.Errorf("variable %.40q is not accepted", msg.Name)
	}
	if strings.ContainsAny(msg.Name+msg.Value, "\x00\n") || strings.Contains(msg.Name, "=") {
		return fmt.Errorf("variable %.40q is malformed", msg.Name)
	}
	if len(s.env) >= maxEnv || len(msg.Name)+len(msg.Value) > maxEnvValue {
		return fmt.Errorf("variable %.40q: too much", msg.Name)
	}
	s.env = append(s.env, msg.Name+"="+msg.Value)
	return nil
}

// subsystem has only one: sftp. A key with a command gets its command instead,
// as with OpenSSH.
func (s *session) subsystem(payload []byte) error {
	var msg struct{ Name string }
	if err := ssh.Unmarshal(payload, &msg); err != nil {
		return err
	}
	if msg.Name != "sftp" {
		return fmt.Errorf("subsystem %.40q: %w", msg.Name, errUnknownRequest)
	}
	return s.start(internalSFTP, true)
}

var errRunning = errors.New("a program runs already")

// start starts the sftp server, the command, or the shell when that is empty:
// if the key has no command of its own.
func (s *session) start(command string, files bool) error {
	if s.run != nil {
		return errRunning
	}
	original := command
	if forced := s.conn.key.command; forced != "" {
		command, files = forced, forced == internalSFTP
	}
	if files {
		return s.startSFTP()
	}
	run, err := s.startProcess(command, original)
	if err != nil {
		return err
	}
	s.run = run
	return nil
}

func (s *session) startSFTP() error {
	server, err := sftp.NewServer(s.ch, sftp.WithServerWorkingDirectory(s.conn.server.home()))
	if err != nil {
		return err
	}
	s.run = &files{server: server, end: make(chan struct{})}
	return nil
}

// environment is that of the session's process.
func (s *session) environment(original string) []string {
	env := append(s.conn.server.environment(), s.env...)
	remote, local := hostAndPort(s.conn.RemoteAddr()), hostAndPort(s.conn.LocalAddr())
	env = append(env, "SSH_CLIENT="+remote[0]+" "+remote[1]+" "+local[1],
		"SSH_CONNECTION="+remote[0]+" "+remote[1]+" "+local[0]+" "+local[1])
	if s.term != nil {
		env = append(env, "TERM="+s.term.kind, "SSH_TTY="+s.term.tty.Name())
	}
	if s.conn.key.command != "" && original != "" {
		env = append(env, "SSH_ORIGINAL_COMMAND="+original)
	}
	return append(env, s.conn.key.env...)
}

func hostAndPort(a net.Addr) [2]string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return [2]string{a.String(), "0"}
	}
	return [2]string{host, port}
}

func (s *session) signal(payload []byte) error {
	var msg struct{ Name string }
	if err := ssh.Unmarshal(payload, &msg); err != nil {
		return err
	}
	sig, ok := signals[msg.Name]
	if !ok {
		return fmt.Errorf("signal %.40q is not known", msg.Name)
	}
	if s.run == nil {
		return errors.New("no program runs")
	}
	return s.run.signal(sig)
}
