package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/victorinix/vic/internal/agefile"
	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/secret"
)

// secretFlags say where secrets come from: -s, --secrets, --identity.
type secretFlags struct {
	args       []string
	files      []string
	identities []string
}

// add adds the flags. what is the beginning of the help of -s: which secrets
// they are.
func (f *secretFlags) add(cmd *cobra.Command, what string) {
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.args, "secret", "s", nil,
		what+": `NAME=@FILE`, NAME=env:VAR or NAME=VALUE; several are separated by commas")
	flags.StringArrayVar(&f.files, "secrets", nil, "secrets from a `FILE` that age encrypted: YAML, names and values")
	flags.StringArrayVar(&f.identities, "identity", nil, "decrypt it with the key in `FILE`: of age-keygen, or an SSH private key")
}

// read collects the secrets, and hides them from then on.
func (f *secretFlags) read(a *app) (secret.Set, error) {
	all, err := secret.Parse(f.args, secret.Host{})
	errs := []error{err}
	if len(f.identities) > 0 && len(f.files) == 0 {
		errs = append(errs, errors.New("--identity: it decrypts files given with --secrets, and there are none"))
	}
	sealed := agefile.Reader{Identities: f.identities, Source: secret.Host{Limit: agefile.MaxFile}}
	if a.canAsk() {
		sealed.Passphrase = func(file string) (secret.Value, error) { return a.ask(fmt.Sprintf("Passphrase of %s: ", file)) }
	}
	for _, file := range f.files {
		set, err := sealed.Read(file)
		if err == nil {
			all, err = all.Merge(set)
		}
		errs = append(errs, err)
	}
	a.secrets = all
	return all, errors.Join(errs...)
}

// askRequired asks the person who is there for the secrets that an item cannot
// do without.
func (a *app) askRequired(item config.Item, given secret.Set) (secret.Set, error) {
	for _, s := range item.Secrets {
		if _, ok := given.Get(s.Name); ok || !s.Required || !a.canAsk() {
			continue
		}
		fmt.Fprintf(a.stderr, "%s needs the secret %s: %s\n", item.Name, s.Name, s.Description)
		v, err := a.askTwice(s.Name)
		if err != nil {
			return given, err
		}
		given = given.With(s.Name, v)
	}
	a.secrets = given
	return given, nil
}

// canAsk says whether there is a person to be asked.
func (a *app) canAsk() bool {
	in, ok := a.stdin.(*os.File)
	return ok && term.IsTerminal(int(in.Fd()))
}

// ask reads a line that is not shown.
func (a *app) ask(question string) (secret.Value, error) {
	fmt.Fprint(a.stderr, question)
	line, err := term.ReadPassword(int(a.stdin.(*os.File).Fd()))
	fmt.Fprintln(a.stderr)
	switch {
	case err != nil:
		return secret.Value{}, fmt.Errorf("read from the terminal: %w", err)
	case len(line) == 0:
		return secret.Value{}, errors.New("read from the terminal: it is empty")
	}
	return secret.NewValue(string(line)), nil
}

// askTwice reads a secret that is not shown, and reads it again: one that was
// mistyped could never be given again.
func (a *app) askTwice(name string) (secret.Value, error) {
	first, err := a.ask(fmt.Sprintf("Value of %s: ", name))
	if err != nil {
		return secret.Value{}, fmt.Errorf("secret %s: %w", name, err)
	}
	second, err := a.ask("The same again: ")
	switch {
	case err != nil:
		return secret.Value{}, fmt.Errorf("secret %s: %w", name, err)
	case first.Reveal() != second.Reveal():
		return secret.Value{}, fmt.Errorf("secret %s: the two are not the same", name)
	}
	return first, nil
}
