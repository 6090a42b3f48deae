package sshd

import (
	"errors"
	"syscall"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// files is the sftp server of a session, in this process.
type files struct {
	server *sftp.Server
	end    chan struct{}
	err    error
}

func (f *files) connect(ssh.Channel) {
	go func() {
		f.err = f.server.Serve()
		close(f.end)
	}()
}

func (f *files) done() <-chan struct{} { return f.end }

func (f *files) signal(syscall.Signal) error {
	return errors.New("the sftp server is not a process")
}

// finish is what sftp-server(8) would exit with.
func (f *files) finish() syscall.WaitStatus {
	if f.err != nil {
		return 1 << 8
	}
	return 0
}

// hangUp has nothing to do: without its channel the server ends.
func (f *files) hangUp() {}
