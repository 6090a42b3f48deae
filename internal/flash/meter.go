package flash

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/victorinix/vic/internal/event"
)

const (
	// beat is how often progress is told.
	beat = 500 * time.Millisecond
	// window is how much of the past the speed is taken from, in beats.
	window = 20
)

// meter tells how far a step is, how fast it goes, and when it will be done.
type meter struct {
	sink   event.Sink
	step   event.Event
	begun  time.Time
	done   atomic.Int64
	end    chan struct{}
	ticker sync.WaitGroup
}

func startMeter(sink event.Sink, step event.Event) *meter {
	m := &meter{sink: sink, step: step, begun: time.Now(), end: make(chan struct{})}
	m.emit(event.Start, "")
	m.ticker.Go(m.run)
	return m
}

func (m *meter) add(n int64)            { m.done.Add(n) }
func (m *meter) elapsed() time.Duration { return time.Since(m.begun) }

// stop ends the step. The error of a step that failed is told by who knows what
// it means.
func (m *meter) stop(err error, summary string) {
	close(m.end)
	m.ticker.Wait()
	if err == nil {
		m.emit(event.Done, summary)
	} else {
		m.emit(event.Failed, err.Error())
	}
}

func (m *meter) emit(s event.State, message string) {
	e := m.step
	e.State, e.Done, e.Message = s, m.done.Load(), message
	m.sink.Emit(e)
}

func (m *meter) run() {
	t := time.NewTicker(beat)
	defer t.Stop()
	past := []int64{0} // of the last beats
	for {
		select {
		case <-m.end:
			return
		case <-t.C:
		}
		now := m.done.Load()
		past = append(past, now)
		past = past[max(0, len(past)-window):]
		took := beat * time.Duration(len(past)-1)
		m.emit(event.Progress, pace(now-past[0], took, m.step.Total-now))
	}
}

// pace is "48 MB/s, 1m20s left"; left is 0 or less when nobody knows.
func pace(n int64, took time.Duration, left int64) string {
	text := speed(n, took)
	if n <= 0 || left <= 0 {
		return text
	}
	wait := time.Duration(float64(took) / float64(n) * float64(left))
	return fmt.Sprintf("%s, %s left", text, wait.Round(time.Second))
}

func speed(n int64, took time.Duration) string {
	if took <= 0 {
		return Bytes(n)
	}
	return Bytes(int64(float64(n)/took.Seconds())) + "/s"
}

// Bytes is a number of bytes for people, as cards are labelled: 31.9 GB. Less
// than a megabyte is told exactly.
func Bytes(n int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1e12, "TB"}, {1e9, "GB"}, {1e6, "MB"}} {
		if n >= u.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.size), u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
