package control

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// The verbs of the socket.
const (
	verbStatus  = "status"
	verbDeliver = "deliver"
	verbProceed = "proceed"
	verbPayload = "payload" // how far it is
	verbSend    = "send"    // bytes of it
	verbStay    = "stay"
	verbLeave   = "leave"
)

// call is the line that a connection begins with.
//
//	{"verb":"deliver","length":812}    and then 812 bytes
//	{"verb":"send","offset":4096}      answered; then bytes, until the end; answered
type call struct {
	Verb   string `json:"verb"`
	Length int64  `json:"length,omitempty"`
	Offset int64  `json:"offset,omitempty"`
	Run    int64  `json:"run,omitempty"` // Started.Events
	Force  bool   `json:"force,omitempty"`
}

// answer is the line that a call is answered with: an error, or what the verb
// gives.
type answer struct {
	Error   string   `json:"error,omitempty"`
	Status  *Status  `json:"status,omitempty"`
	Started *Started `json:"started,omitempty"`
	Payload *Payload `json:"payload,omitempty"`
}

// The largest line, and what deliver takes: a request and secrets, each of at
// most 1 MiB, in JSON.
const (
	maxLine     = 4 << 10
	maxDelivery = 4 << 20
)

// readCall reads a line of what may be anything.
func readCall(r *bufio.Reader) (call, error) {
	line, err := readLine(r)
	if err != nil {
		return call{}, err
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	var c call
	if err := dec.Decode(&c); err != nil || dec.More() {
		return call{}, errors.New("expected a call, as a line of JSON") // not what it was instead
	}
	if c.Length < 0 || c.Length > maxDelivery {
		return call{}, fmt.Errorf("%d bytes are out of bounds: at most %d are read", c.Length, maxDelivery)
	}
	if c.Offset < 0 {
		return call{}, fmt.Errorf("offset %d is negative", c.Offset)
	}
	return c, nil
}

// readLine reads up to a line break; r has to be of the size maxLine.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("a line is longer than %d bytes", maxLine)
	case errors.Is(err, io.EOF) && len(line) > 0:
		return nil, io.ErrUnexpectedEOF
	}
	return line, err
}

func writeLine(w io.Writer, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}
