package ramsys

import (
	"bytes"
	"encoding/json"
	"os"
	"syscall"
)

// agentProcess is the agent as init sees it.
type agentProcess struct {
	outcome chan outcome
	notices chan notice
	answers *json.Encoder
	ending  <-chan struct{}
}

// notice hands one to init's work; it is answered there.
func (a *agentProcess) notice(n notice) {
	select {
	case a.notices <- n:
	case <-a.ending:
	}
}

// answer answers the last notice. An agent that has ended meanwhile needs none.
func (a *agentProcess) answer(ans answer) { _ = a.answers.Encode(ans) }

// startAgent starts the agent, and passes on its events until it ends; the
// channel outcome gets what came of it.
func (s system) startAgent(sink *witness) (*agentProcess, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	answers, answer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer answers.Close()
	log, err := os.OpenFile(agentLog, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	p, err := s.reaper.Start("/proc/self/exe", []string{"vic-init", agentArg}, &syscall.ProcAttr{
		Dir: "/", Env: environment("dumb"),
		Files: []uintptr{null.Fd(), log.Fd(), log.Fd(), reportFd: w.Fd(), answerFd: answers.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, err
	}
	a := &agentProcess{outcome: make(chan outcome, 1), notices: make(chan notice), answers: json.NewEncoder(answer), ending: s.ending}
	guard(func() { a.listen(json.NewDecoder(r), p.Done(), sink) })
	return a, nil
}

// listen passes on what the agent says until it ends.
func (a *agentProcess) listen(dec *json.Decoder, ended <-chan syscall.WaitStatus, sink *witness) {
	o, ok := receive(dec, sink, a.notice)
	if !ok {
		o = crashed(<-ended, sink.exit(exitInternal))
		o.Error += excerpt(agentLog)
	}
	if o.Error != "" && !o.Told {
		sink.fail(o.Error, o.Exit)
	}
	a.outcome <- o
	for ok {
		_, ok = receive(dec, sink, a.notice)
	}
}

// agentLog is what the agent writes to its standard output and error: normally
// nothing, and the reason when it panics.
const agentLog = runDir + "/agent.log"

// excerptSize is enough for a panic and the first frames below it.
const excerptSize = 1 << 10

// excerpt is the beginning of the last panic in a log, or the log's end.
func excerpt(path string) string {
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		return ""
	}
	for _, mark := range []string{"panic: ", "fatal error: "} {
		if i := bytes.LastIndex(b, []byte(mark)); i >= 0 {
			return "\n" + string(b[i:min(len(b), i+excerptSize)])
		}
	}
	return "\n" + string(b[max(0, len(b)-excerptSize):])
}
