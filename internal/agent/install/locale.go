package install

import (
	"context"
	"fmt"
	"strings"

	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/tool"
)

// locale has the target generate a locale. C.UTF-8 is built into its libc.
func (t target) locale(ctx context.Context, name string) error {
	source, charset, ok := request.LocaleParts(name)
	if !ok {
		return nil
	}
	if !t.exists("/usr/bin/localedef") || !t.exists("/usr/share/i18n/locales/"+source) {
		return fmt.Errorf("generate locale %s: the payload cannot: it needs the package locales, or take C.UTF-8", name)
	}
	// locale-gen(8) makes again, at updates, what this file lists.
	if err := t.put("/etc/locale.gen", file{mode: 0o644, content: strings.NewReader(request.LocaleGen(name))}); err != nil {
		return err
	}
	err := t.inside(ctx, func() error {
		_, err := t.run(ctx, tool.Cmd{Name: "localedef", Args: []string{"-i", source, "-f", charset, "-A", "/usr/share/locale/locale.alias", name}})
		return err
	})
	if err != nil {
		return fmt.Errorf("generate locale %s: %w", name, err)
	}
	return nil
}
