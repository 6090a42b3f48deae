package install

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/victorinix/vic/internal/tool"
)

// locale has the target generate a locale. C.UTF-8 is built into its libc.
func (t target) locale(ctx context.Context, name string) error {
	if slices.Contains([]string{"", "C", "POSIX", "C.UTF-8"}, name) {
		return nil
	}
	source, charset := localeParts(name)
	if !t.exists("/usr/bin/localedef") || !t.exists("/usr/share/i18n/locales/"+source) {
		return fmt.Errorf("generate locale %s: the payload cannot: it needs the package locales, or take C.UTF-8", name)
	}
	// locale-gen(8) makes again, at updates, what this file lists.
	if err := t.put("/etc/locale.gen", file{mode: 0o644, content: strings.NewReader(name + " " + charset + "\n")}); err != nil {
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

// localeParts splits language[_TERRITORY][.CODESET][@modifier] (locale(7)) into
// the name of its definition and of its character set.
func localeParts(name string) (source, charset string) {
	rest, modifier, _ := strings.Cut(name, "@")
	source, charset, _ = strings.Cut(rest, ".")
	if modifier != "" {
		source += "@" + modifier
	}
	switch {
	case strings.EqualFold(charset, "utf8"), strings.EqualFold(charset, "utf-8"):
		charset = "UTF-8"
	case charset == "":
		charset = "ISO-8859-1"
	}
	return source, charset
}
