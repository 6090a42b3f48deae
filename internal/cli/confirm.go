package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// confirm shows what is going to be lost and has a person type a word. Without
// it the error says that nothing was changed.
func (a *app) confirm(loss, word string) error {
	fmt.Fprintf(a.stderr, "%sType %s to go on: ", loss, word)
	answer, err := bufio.NewReader(a.stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read confirmation: %w", err)
	}
	if errors.Is(err, io.EOF) {
		fmt.Fprintln(a.stderr) // ends the line of the question
	}
	if strings.TrimSpace(answer) != word {
		return fail(exitRefused, errors.New("not confirmed: nothing was written"), "--yes goes on without asking")
	}
	return nil
}
