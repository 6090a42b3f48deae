package sshd

import (
	"syscall"

	"golang.org/x/crypto/ssh"
)

// signals are those of RFC 4254 §6.10.
var signals = map[string]syscall.Signal{
	"ABRT": syscall.SIGABRT, "ALRM": syscall.SIGALRM, "FPE": syscall.SIGFPE, "HUP": syscall.SIGHUP,
	"ILL": syscall.SIGILL, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL, "PIPE": syscall.SIGPIPE,
	"QUIT": syscall.SIGQUIT, "SEGV": syscall.SIGSEGV, "TERM": syscall.SIGTERM,
	"USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2,
}

// tell tells the client how its program ended. A client that cannot be told is
// gone.
func (s *session) tell(status syscall.WaitStatus) {
	_ = s.ch.CloseWrite()
	if status.Signaled() {
		for name, sig := range signals {
			if sig == status.Signal() {
				_, _ = s.ch.SendRequest("exit-signal", false, ssh.Marshal(struct {
					Name     string
					Core     bool
					Message  string
					Language string
				}{name, status.CoreDump(), sig.String(), ""}))
				return
			}
		}
	}
	code := status.ExitStatus()
	if status.Signaled() { // by one that has no name here: as shells say it
		code = 128 + int(status.Signal())
	}
	_, _ = s.ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(code)}))
}
