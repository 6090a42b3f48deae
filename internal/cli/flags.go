package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/secret"
)

// itemFlags say what an item is to be: -o, -n, -s.
type itemFlags struct {
	options []string
	inline  []string
	secrets secretFlags
}

// add adds -o and -n.
func (f *itemFlags) add(a *app, cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&f.options, "option", "o", nil,
		"set an option: `KEY=VALUE`; KEY alone sets a bool, or empties a list (see vic options ITEM)")
	cmd.Flags().StringArrayVarP(&f.inline, "settings", "n", nil,
		"set options from YAML: a `FILE`, or the YAML itself ('hostname: web1')")
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.itemNames(), cobra.ShellCompDirectiveDefault
	}
	err := cmd.RegisterFlagCompletionFunc("option", func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.optionKeys(args), cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the flag is defined above
	}
}

// addSecrets adds -s, --secrets and --identity.
func (f *itemFlags) addSecrets(cmd *cobra.Command) { f.secrets.add(cmd, "give a secret") }

// short adds an option that has a flag of its own.
func (f *itemFlags) short(option, value string) {
	if value != "" {
		f.options = append(f.options, option+"="+value)
	}
}

// load makes the Config of an item, and the secrets that belong to it. Every
// mistake in either is a usage error, and all are reported at once.
func (f *itemFlags) load(a *app, item string) (*config.Config, secret.Set, error) {
	secrets, err := f.secrets.read(a)
	c, configErr := f.config(a, item)
	if err == nil && configErr == nil {
		secrets, err = a.askRequired(c.Item(), secrets)
	}
	if configErr == nil {
		err = errors.Join(err, checkSecrets(c.Item(), secrets))
	}
	if err := errors.Join(configErr, err); err != nil {
		return nil, secret.Set{}, fail(exitUsage, err, itemHint(a, item))
	}
	return c, secrets, nil
}

// config makes the Config of an item.
func (f *itemFlags) config(a *app, item string) (*config.Config, error) {
	env, err := userEnv()
	if err != nil {
		return nil, err
	}
	r, err := a.registry()
	if err != nil {
		return nil, err
	}
	c, err := r.Load(item, config.Layers{
		Host: hostFacts(r, item), UserEnv: env, Inline: f.inline, Options: f.options, Facts: knownFact,
	})
	return c, fail(exitUsage, err, itemHint(a, item))
}

// itemHint says where to look, for errors about an item.
func itemHint(a *app, item string) string {
	if r, err := a.registry(); err == nil {
		if _, err := r.Item(item); err != nil {
			return "`vic items` lists the items"
		}
	}
	return fmt.Sprintf("`vic options %s` lists the options and secrets", item)
}

// checkSecrets refuses secrets that the item does not take, and asks for
// those that it cannot do without.
func checkSecrets(item config.Item, secrets secret.Set) error {
	var required []string
	for _, s := range item.Secrets {
		if s.Required {
			required = append(required, s.Name)
		}
	}
	return errors.Join(unknownSecrets(item, secrets), secrets.Require(item.Name, required...))
}

// unknownSecrets refuses secrets that the item does not take.
func unknownSecrets(item config.Item, secrets secret.Set) error {
	var known []string
	for _, s := range item.Secrets {
		known = append(known, s.Name)
	}
	var errs []error
	for _, name := range secrets.Unknown(known) {
		if storage.IsKey(name) {
			continue // prepareLayout knows them
		}
		errs = append(errs, fmt.Errorf("-s %s: unknown secret %q of item %s%s", name, name, item.Name, didYouMean("", name, known)))
	}
	return errors.Join(errs...)
}

// hostFacts are the options that this machine answers: arch, where vic can
// build for it.
func hostFacts(r *config.Registry, item string) map[string]string {
	it, err := r.Item(item)
	if err != nil {
		return nil // Load reports it
	}
	for _, o := range it.Options {
		if o.Name == "arch" && slices.Contains(o.Values, runtime.GOARCH) {
			return map[string]string{"arch": runtime.GOARCH}
		}
	}
	return nil
}

// userEnv is the path of the user's settings for all items. Without a home
// directory there are none.
func userEnv() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		if os.Getenv("HOME") == "" {
			return "", nil
		}
		return "", fmt.Errorf("find user settings: %w", err)
	}
	return filepath.Join(dir, "vic", "env.yaml"), nil
}

func (a *app) itemNames() []string {
	r, err := a.registry()
	if err != nil {
		return nil
	}
	var names []string
	for _, it := range r.Items() {
		names = append(names, it.Name)
	}
	return names
}

// optionKeys completes -o for the item on the command line.
func (a *app) optionKeys(args []string) []string {
	r, err := a.registry()
	if err != nil || len(args) == 0 {
		return nil
	}
	it, err := r.Item(args[0])
	if err != nil {
		return nil
	}
	var keys []string
	for _, o := range it.Options {
		keys = append(keys, o.Name+"=\t"+o.Description)
	}
	return keys
}

// archiveFlags say where packages come from.
type archiveFlags struct {
	mirror  string
	keyring string
	lock    string
	offline bool
	cache   string
}

func (f *archiveFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.mirror, "mirror", os.Getenv("VIC_MIRROR"), "`URL` of the Debian mirror (default $VIC_MIRROR, or that of this machine's apt)")
	flags.StringVar(&f.keyring, "keyring", "", "`FILE` with the keys that sign the archive (default that of debian-archive-keyring)")
	flags.StringVar(&f.lock, "lock", "", "take exactly the packages of this lock.json `FILE`")
	flags.BoolVar(&f.offline, "offline", false, "download nothing; fail when something is not in the cache")
	flags.StringVar(&f.cache, "cache", "", "`DIR` for downloads and build steps (default ~/.cache/vic)")
}

// cacheDir is the directory for downloads; it may not exist yet.
func (f *archiveFlags) cacheDir() (string, error) {
	if f.cache != "" {
		return filepath.Abs(f.cache)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fail(exitUsage, fmt.Errorf("find the cache: %w", err), "name one with --cache DIR")
	}
	return filepath.Join(dir, "vic"), nil
}

// check refuses flags that contradict each other, and files that are not
// there, before any slow work.
func (f *archiveFlags) check() error {
	var errs []error
	for flag, file := range map[string]string{"--keyring": f.keyring, "--lock": f.lock} {
		if file == "" {
			continue
		}
		if _, err := os.Stat(file); err != nil {
			errs = append(errs, fmt.Errorf("read %s: %w", flag, err))
		}
	}
	if f.mirror != "" && !strings.Contains(f.mirror, "://") {
		errs = append(errs, fmt.Errorf("read --mirror: %q is no URL such as http://HOST/debian", f.mirror))
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return fail(exitUsage, errors.Join(errs...), "")
}
