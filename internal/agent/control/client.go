package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
)

// Client makes calls.
type Client struct {
	Socket string // empty: Socket
}

// Refused is the error of a call that was understood, and not done.
type Refused struct{ Why string }

func (r *Refused) Error() string { return r.Why }

// Status asks where the RAM system stands.
func (c Client) Status(ctx context.Context) (Status, error) {
	a, err := c.call(ctx, call{Verb: verbStatus}, nil)
	if err != nil || a.Status == nil {
		return Status{}, orNothing(err)
	}
	return *a.Status, nil
}

// Deliver begins a run of {"request":{...},"secrets":{...}}.
func (c Client) Deliver(ctx context.Context, doc []byte) (Started, error) {
	if len(doc) > maxDelivery {
		return Started{}, fmt.Errorf("deliver request: it has %d bytes, at most %d are read", len(doc), maxDelivery)
	}
	a, err := c.call(ctx, call{Verb: verbDeliver, Length: int64(len(doc))}, bytes.NewReader(doc))
	if err != nil || a.Started == nil {
		return Started{}, orNothing(err)
	}
	return *a.Started, nil
}

// Proceed acknowledges what was verified by the run that began with
// Started.Events; 0: by whichever it is.
func (c Client) Proceed(ctx context.Context, run int64) error {
	_, err := c.call(ctx, call{Verb: verbProceed, Run: run}, nil)
	return err
}

// Payload asks how far the payload is.
func (c Client) Payload(ctx context.Context) (Payload, error) {
	return payloadOf(c.call(ctx, call{Verb: verbPayload}, nil))
}

// Send sends the bytes of the payload from offset on, until r ends or the
// payload is complete.
func (c Client) Send(ctx context.Context, offset int64, r io.Reader) (Payload, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return Payload{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := writeLine(conn, call{Verb: verbSend, Offset: offset}); err != nil {
		return Payload{}, fmt.Errorf("send payload: %w", err)
	}
	answers := bufio.NewReaderSize(conn, maxAnswer)
	if p, err := payloadOf(readAnswer(answers)); err != nil {
		return p, err
	}
	read := make(chan error, 1)
	go func() { // the answer may come before r ends
		_, err := io.CopyBuffer(onlyWriter{conn}, onlyReader{r}, make([]byte, piece))
		// What cannot be written was not wanted any more: the answer says why.
		var lost *net.OpError
		if errors.As(err, &lost) {
			err = nil
		}
		_ = conn.CloseWrite()
		read <- err
	}()
	p, err := payloadOf(readAnswer(answers))
	select {
	case readErr := <-read:
		if err == nil && readErr != nil {
			err = fmt.Errorf("read payload: %w", readErr)
		}
	default:
	}
	return p, err
}

// These hide ReadFrom and WriteTo, which do not tell reading from writing errors
// and copy in small pieces.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)

// Stay ends the probation.
func (c Client) Stay(ctx context.Context) error {
	_, err := c.call(ctx, call{Verb: verbStay}, nil)
	return err
}

// Leave reboots into the system before.
func (c Client) Leave(ctx context.Context, force bool) error {
	_, err := c.call(ctx, call{Verb: verbLeave, Force: force}, nil)
	return err
}

func payloadOf(a answer, err error) (Payload, error) {
	if err != nil || a.Payload == nil {
		return Payload{}, orNothing(err)
	}
	return *a.Payload, nil
}

func orNothing(err error) error {
	if err == nil {
		return errors.New("call the agent: its answer lacks what was asked for")
	}
	return err
}

func (c Client) dial(ctx context.Context) (*net.UnixConn, error) {
	if c.Socket == "" {
		c.Socket = Socket
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", c.Socket)
	if err != nil {
		return nil, fmt.Errorf("call the agent: %w", err)
	}
	return conn.(*net.UnixConn), nil
}

// call makes a call with a body, and reads the answer.
func (c Client) call(ctx context.Context, what call, body io.Reader) (answer, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	err = writeLine(conn, what)
	if err == nil && body != nil {
		_, err = io.Copy(conn, body)
	}
	if err == nil {
		err = conn.CloseWrite()
	}
	a, answerErr := readAnswer(bufio.NewReaderSize(conn, maxAnswer))
	var refused *Refused
	if err != nil && !errors.As(answerErr, &refused) {
		return a, fmt.Errorf("call the agent: %w", err)
	}
	return a, answerErr
}

// maxAnswer bounds an answer: errors list what is wrong with a request.
const maxAnswer = 1 << 20

func readAnswer(r *bufio.Reader) (answer, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return answer{}, fmt.Errorf("read the agent's answer: %w", err)
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		return answer{}, fmt.Errorf("read the agent's answer: %w", err)
	}
	if a.Error != "" {
		return a, &Refused{a.Error}
	}
	return a, nil
}
