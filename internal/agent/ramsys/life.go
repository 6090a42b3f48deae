package ramsys

import (
	"context"
	"os"
	"time"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
)

// life is what init does from the start of the agent until it is time to end the
// machine. One goroutine does all of it, one thing after the other: so that what
// an agent relies on, such as the end of the probation, has happened before it is
// told, and so that the watchdog is pinged by what has to be alive.
type life struct {
	system
	agent     *agentProcess
	sink      *witness
	flush     func() // ends the telling of events
	probation *probation
	sentry    *sentry
}

// live runs the agent and does what follows from it, until it is time to end the
// machine. It returns how: request.FinishPoweroff or FinishReboot.
func (s system) live() string {
	if reason := os.Getenv(panicEnv); reason != "" {
		return s.refuse(reason)
	}
	log, err := createEventLog(runDir + "/events.jsonl")
	if err != nil {
		return s.refuse(err.Error())
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	flush := tell(ctx, s.consoles, log)
	l := life{system: s, sink: newWitness(event.NewEncoder(log)), flush: func() { flush(); s.farewell() }}
	if s.onProbation {
		l.begin()
	}
	l.agent, err = s.startAgent(l.sink)
	setPriority(calm)
	guard(func() { s.serveSSH(l.sink) })
	if err != nil {
		return s.refuse(err.Error())
	}
	return l.run()
}

// farewell gives clients that follow the events over SSH the time to see the last
// ones: what follows ends the programs that they follow them with.
func (s system) farewell() {
	if s.handover != nil {
		time.Sleep(time.Second)
	}
}

// begin begins the probation.
func (l *life) begin() {
	l.probation = startProbation(l.system.limit(), uptime()-l.began)
	l.sink.Emit(l.probation.started())
	if err := setKernel(crashSettings("1")); err != nil {
		warn(l.sink, []string{err.Error()})
	}
	if l.cmdline.Watchdog == 0 {
		return
	}
	l.sentry = &sentry{choose: chooseWatchdog(l.cmdline.Watchdog), sink: l.sink, modprobe: modprobeProcess(l.reaper)}
}

func (l *life) run() string {
	for {
		select {
		case sig := <-l.signals:
			l.sink.fail("interrupted: "+sig.String(), l.sink.exit(exitUntouched))
			return l.end(howOf(sig))
		case o := <-l.agent.outcome:
			if how := l.follow(o); how != "" {
				return l.end(how)
			}
		case n := <-l.agent.notices:
			if l.heed(n) {
				return l.end(request.FinishReboot)
			}
		case <-l.probation.over():
			l.sink.Emit(l.probation.expired())
			return l.end(request.FinishReboot)
		case <-l.sink.first:
			l.noReturn()
		case status := <-l.sentry.module():
			l.sentry.moduleLoaded(status)
		case <-l.sentry.tick():
			l.sentry.ping()
		}
	}
}

// end lets everybody know how the machine ends. From here on nobody pings the
// watchdog: when the way down hangs, it is the way back.
func (l *life) end(how string) string {
	if how == request.FinishPoweroff {
		l.sentry.retire("the machine is switched off")
	}
	l.sentry.ping()
	l.flush()
	return how
}

// follow does what follows from the agent's outcome. It returns how the machine
// ends, or nothing when it goes on. On probation, an agent that failed leaves SSH
// and a shell on each console, for as long as the probation lasts.
func (l *life) follow(o outcome) string {
	if l.probation == nil {
		l.flush()
		return l.next(o)
	}
	if o.Error == "" {
		return o.Finish
	}
	l.sentry.arm(true)
	l.print("%s", rescueHelp)
	l.keepShells()
	return ""
}

// heed does what follows from a notice, and answers it. It says whether the
// machine is to leave.
func (l *life) heed(n notice) (leave bool) {
	var a answer
	switch n {
	case noticeEarly, noticeDevices:
		l.sentry.arm(n == noticeDevices)
	case noticeAcknowledged:
		if l.probation.acknowledge() {
			l.sink.Emit(l.probation.acknowledged())
		}
	case noticeReleased:
		if l.probation != nil && !l.sink.written.Load() {
			l.probation.restart()
			l.sink.Emit(l.probation.started())
		}
	case noticeLeave:
		leave = true
	case noticeLeft:
	default:
		a.Error = "init does not know the notice " + string(n)
	}
	a.Left = l.probation.left()
	l.agent.answer(a)
	return leave
}

// noReturn is for the first write to a disk: the system before is gone, and the
// one in RAM must live.
func (l *life) noReturn() {
	if l.probation == nil && !l.reinstall {
		return
	}
	if err := os.WriteFile(l.written, nil, 0o644); err != nil {
		warn(l.sink, []string{err.Error()})
	}
	if l.probation == nil {
		return
	}
	l.probation.acknowledge()
	l.sentry.retire("from here on a reset would lose the system in RAM, the only one")
	// A fault that the kernel survives is worth surviving now.
	if err := setKernel(crashSettings("0")); err != nil {
		warn(l.sink, []string{err.Error()})
	}
}

// limit is how long the probation lasts.
func (s system) limit() time.Duration { return time.Duration(s.handover.Probation) * time.Second }
