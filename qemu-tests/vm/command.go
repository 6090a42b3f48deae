package vm

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// command is a shell script that repeats the run by hand, with the console
// and QEMU's monitor (Ctrl-A C) on the terminal. It makes the temporary files
// again. Credentials' values are not in it: it takes them from its environment.
func (s setup) command() string {
	var b strings.Builder
	line := func(words ...string) {
		for i, w := range words {
			words[i] = shellWord(w)
		}
		b.WriteString(strings.Join(words, " ") + "\n")
	}
	line("mkdir", "-p", s.Dir)
	if strings.HasPrefix(s.vars, s.temp("")) {
		fmt.Fprintf(&b, "test -e %[1]s || cp %[2]s %[1]s\n", shellWord(s.vars), shellWord(s.template))
	}
	if len(s.Initrd) > 1 {
		fmt.Fprintf(&b, ": > %s\n", shellWord(s.initrd))
		for _, f := range s.Initrd {
			fmt.Fprintf(&b, "cat %s >> %[2]s && truncate -s %%4 %[2]s\n", shellWord(f), shellWord(s.initrd))
		}
	}
	for i, d := range s.Disks {
		if d.Snapshot {
			c := overlayCmd("qemu-img", s.disks[i].path, s.backing[i])
			line(append([]string{c.Name}, c.Args...)...)
		}
	}
	for i, name := range slices.Sorted(maps.Keys(s.Credentials)) {
		fmt.Fprintf(&b, "printf 'io.systemd.credential:%%s=%%s' %s \"${CREDENTIAL%d?value of %s}\" > %s\n",
			shellWord(name), i, strings.ReplaceAll(name, "\"", ""), shellWord(s.creds[i]))
	}
	line(append([]string{s.qemu}, s.args(s.manual())...)...)
	return b.String()
}

// manual are the backends for a run by hand.
func (s setup) manual() backends {
	b := backends{console: "stdio,id=console,mux=on,signal=off"}
	if s.Events {
		b.events = opts("file,id=events", "path", filepath.Join(s.Dir, "events.ndjson"))
	}
	return b
}

// shellWord quotes s for a POSIX shell where that is needed.
func shellWord(s string) string {
	unsafe := func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && !strings.ContainsRune("@%+=:,./_-", r)
	}
	if s != "" && !strings.ContainsFunc(s, unsafe) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
