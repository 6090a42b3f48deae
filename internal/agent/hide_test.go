package agent

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/secret"
)

func TestSecretsAreHidden(t *testing.T) {
	s := secret.NewSet(map[string]string{"luks-main": "canary \"1\"", "pin": "77"})
	inner := errors.New(`cryptsetup: no key "canary \"1\"" for canary "1"`)
	err := hide(s, codeError{5, fmt.Errorf("format: %w", inner)})
	if strings.Contains(err.Error(), "canary") || !strings.HasPrefix(err.Error(), "format: cryptsetup: no key ") {
		t.Errorf("got %v", err)
	}
	if ExitCode(err) != 5 || !errors.Is(err, inner) {
		t.Errorf("exit code %d, %v", ExitCode(err), err)
	}
	if hide(s, nil) != nil {
		t.Error("an error of nothing")
	}
	var got []event.Event
	sink := hiding(s, event.SinkFunc(func(e event.Event) { got = append(got, e) }))
	sink.Emit(event.Event{Phase: event.Format, Message: inner.Error(), Exit: 5})
	sink.Emit(event.Event{Phase: event.Format, Message: "77 of 100"})
	if strings.Contains(got[0].Message, "canary") || got[0].Exit != 5 || got[1].Message != "77 of 100" {
		t.Errorf("got %+v", got)
	}
}
