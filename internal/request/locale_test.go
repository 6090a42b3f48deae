package request

import "testing"

func TestLocaleParts(t *testing.T) {
	for name, want := range map[string][2]string{
		"de_DE.UTF-8":       {"de_DE", "UTF-8"},
		"de_DE.utf8":        {"de_DE", "UTF-8"},
		"de_DE":             {"de_DE", "ISO-8859-1"},
		"sr_RS.UTF-8@latin": {"sr_RS@latin", "UTF-8"},
	} {
		source, charset, ok := LocaleParts(name)
		if !ok || source != want[0] || charset != want[1] {
			t.Errorf("%s: got %s, %s, %t", name, source, charset, ok)
		}
		if got := LocaleGen(name); got != name+" "+want[1]+"\n" {
			t.Errorf("locale.gen has %q", got)
		}
	}
	for _, name := range []string{"", "C", "POSIX", "C.UTF-8"} {
		if _, _, ok := LocaleParts(name); ok {
			t.Errorf("%q needs no definition", name)
		}
	}
}
