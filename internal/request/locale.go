package request

import (
	"slices"
	"strings"
)

// LocaleParts splits language[_TERRITORY][.CODESET][@modifier] (locale(7)) into
// the name of its definition and of its character set. ok is false for what is
// built into libc, and needs no definition.
func LocaleParts(name string) (source, charset string, ok bool) {
	if slices.Contains([]string{"", "C", "POSIX", "C.UTF-8"}, name) {
		return "", "", false
	}
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
	return source, charset, true
}

// LocaleGen is the content of /etc/locale.gen for a locale: locale-gen(8) makes
// again, at updates, what it lists.
func LocaleGen(name string) string {
	_, charset, _ := LocaleParts(name)
	return name + " " + charset + "\n"
}
