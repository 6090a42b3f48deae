package ramsys

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"
)

// initEnd is init's end of a line: it answers each notice with what f returns.
func initEnd(t *testing.T, f func(notice) answer) *line {
	t.Helper()
	reports, toInit := io.Pipe()
	fromInit, answers := io.Pipe()
	t.Cleanup(func() { toInit.Close(); answers.Close() })
	go func() {
		dec, enc := json.NewDecoder(reports), json.NewEncoder(answers)
		receive(dec, &told{}, func(n notice) {
			if f == nil {
				answers.Close()
				return
			}
			_ = enc.Encode(f(n)) // the test sees that none comes
		})
	}()
	return newLine(newReporter(toInit), fromInit)
}

func TestNoticesAreAnswered(t *testing.T) {
	l := initEnd(t, func(n notice) answer {
		if n == noticeAcknowledged {
			return answer{Error: "too late"}
		}
		return answer{Left: time.Minute}
	})
	if a, err := l.ask(noticeLeft); err != nil || a.Left != time.Minute {
		t.Errorf("got %+v, %v", a, err)
	}
	if _, err := l.ask(noticeAcknowledged); err == nil || err.Error() != "too late" {
		t.Errorf("got %v", err)
	}
	if a, err := l.ask(noticeLeft); err != nil || a.Left != time.Minute {
		t.Errorf("after a refusal: %+v, %v", a, err)
	}
}

func TestInitIsGone(t *testing.T) {
	l := initEnd(t, nil)
	if _, err := l.ask(noticeAcknowledged); err == nil || !strings.Contains(err.Error(), "init is gone") {
		t.Errorf("got %v", err)
	}
}

// An answer that comes late must not be taken for one to a later notice.
func TestNoAnswer(t *testing.T) {
	late := make(chan struct{})
	l := initEnd(t, func(notice) answer { <-late; return answer{} })
	l.patience = 10 * time.Millisecond
	if _, err := l.ask(noticeLeft); err == nil || !strings.Contains(err.Error(), "did not answer") {
		t.Errorf("got %v", err)
	}
	close(late)
	l.patience = 5 * time.Second
	if _, err := l.ask(noticeAcknowledged); err == nil || !strings.Contains(err.Error(), "did not answer") {
		t.Errorf("after a late answer: %v", err)
	}
}
