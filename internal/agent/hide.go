package agent

import (
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/secret"
)

// hiding replaces secrets in events: what foreign programs say goes into them,
// and they are shown on consoles and kept in a file.
func hiding(s secret.Set, sink event.Sink) event.Sink {
	if len(s.Names()) == 0 {
		return sink
	}
	return event.SinkFunc(func(e event.Event) {
		if e.Message != "" {
			e.Message = s.Redact(e.Message)
		}
		sink.Emit(e)
	})
}

// hidden is an error whose text has no secrets.
type hidden struct {
	error
	text string
}

func (h hidden) Error() string { return h.text }
func (h hidden) Unwrap() error { return h.error }

func hide(s secret.Set, err error) error {
	if err == nil {
		return nil
	}
	return hidden{err, s.Redact(err.Error())}
}
