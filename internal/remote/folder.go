package remote

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// find makes a folder that only the user can enter and that takes programs. It has to
// be in RAM ($1 is "ram"), or may be anywhere; and it is a new one ($2 is "new"), or
// that of an earlier run, whose files need not be sent again. Of a file without a first line the shell
// itself is the interpreter, so that whether it runs depends on the file system
// alone. What belongs to root stays when a session breaks; systemd-logind removes
// what belongs to others (RemoveIPC in logind.conf(5)).
//
// Where no tmpfs takes programs, root mounts one.
const find = `umask 077
u=$(id -u) again=
[ "$2" = new ] || again=yes
in_ram() { grep "^[^ ]* $1 " /proc/mounts | tail -n 1 | grep -q "^[^ ]* $1 tmpfs "; }
mine() { set -- $(ls -ldn "$1" 2>/dev/null); case $1 in drwx------*) [ "$3" = "$u" ];; *) false;; esac; }
runs() { f=$1/.try; : >"$f" && chmod 700 "$f" && "$f" 2>/dev/null; r=$?; rm -f "$f"; return $r; }
use() {
  d=$1/vic-$u
  [ "$again" ] && { mkdir "$d" 2>/dev/null; mine "$d"; } || d=$(mktemp -d "$1/vic-$u.XXXXXX" 2>/dev/null) || return 1
  runs "$d" && { echo "vic:folder=$2$d"; exit 0; }
  rmdir "$d" 2>/dev/null
  return 1
}
for p in /dev/shm /run /run/user/$u; do
  p=$(cd $p 2>/dev/null && pwd -P) || continue
  in_ram "$p" && use "$p" ram:
done
if [ $u = 0 ] && { m=/run/vic-0; [ "$again" ] && { mkdir $m 2>/dev/null; mine $m; } || m=$(mktemp -d /run/vic-0.XXXXXX); }; then
  in_ram $m || mount -t tmpfs -o nosuid,nodev,mode=0700,size=90% vic $m || rmdir $m
  in_ram $m && runs $m && { echo vic:folder=ram:$m; exit 0; }
fi
[ "$1" = ram ] || use /tmp disk:
echo no folder of this machine takes programs: tried /dev/shm and /run >&2
exit 1`

// The arguments of find.
const ram, anywhere, private, shared = "ram", "any", "new", "again"

// makeFolder has the host make a folder for what is sent.
func (s *Session) makeFolder(ctx context.Context, where, whose string) error {
	if s.folder != "" && (s.inRAM || where != ram) {
		return nil
	}
	out, err := s.again(ctx, "set -- "+where+" "+whose+"\n"+find, nil)
	if err != nil {
		return fmt.Errorf("make room on %s: %w", s.host, err)
	}
	_, said, _ := strings.Cut(string(out), "vic:folder=")
	kind, folder, ok := strings.Cut(strings.TrimSpace(said), ":")
	if !ok || !strings.HasPrefix(folder, "/") || strings.Contains(folder, "\n") {
		return fmt.Errorf("make room on %s: its shell answered %.200q", s.host, out)
	}
	s.folder, s.inRAM = folder, kind == ram
	return nil
}

// checkRoom refuses what does not fit into the folder. Files that are there, or
// partly, do not count twice.
func (s *Session) checkRoom(ctx context.Context, files []file) error {
	var need int64
	names := make([]string, len(files))
	for i, f := range files {
		names[i], need = quote(s.path(f.name)), need+f.size
	}
	script := "df -kP " + quote(s.folder) + " | tail -n 1; for f in " + strings.Join(names, " ") + `; do [ ! -e "$f" ] || wc -c <"$f"; done`
	out, err := s.again(ctx, script, nil)
	if err != nil {
		return fmt.Errorf("look for room on %s: %w", s.host, err)
	}
	free, there, err := room(string(out))
	if err != nil {
		return fmt.Errorf("look for room on %s: %w", s.host, err)
	}
	if need -= there; free < need {
		return fmt.Errorf("%s of %s has %d MiB free, and %d MiB are needed", s.folder, s.host, free>>20, (need+1<<20-1)>>20)
	}
	return nil
}

// room reads a line of df -kP, and sizes of files. Both in bytes.
func room(text string) (free, there int64, err error) {
	df, sizes, _ := strings.Cut(strings.TrimSpace(text), "\n")
	// Filesystem 1024-blocks Used Available Capacity Mounted-on
	f := strings.Fields(df)
	if len(f) < 6 {
		return 0, 0, fmt.Errorf("df -kP answered %.200q", text)
	}
	if free, err = strconv.ParseInt(f[3], 10, 64); err != nil {
		return 0, 0, fmt.Errorf("df -kP answered %.200q", text)
	}
	for _, size := range strings.Fields(sizes) {
		n, err := strconv.ParseInt(size, 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("wc answered %.200q", sizes)
		}
		there += n
	}
	return free << 10, there, nil
}

// Discard removes all that was put onto the host.
func (s *Session) Discard(ctx context.Context) error {
	if s.folder == "" {
		return nil
	}
	script := fmt.Sprintf(`d=%s; if grep -q "^vic $d tmpfs " /proc/mounts; then umount "$d" && rmdir "$d"; else rm -rf "$d"; fi`, quote(s.folder))
	if _, err := s.again(ctx, script, nil); err != nil {
		return fmt.Errorf("remove %s from %s: %w", s.folder, s.host, err)
	}
	s.folder, s.program, s.as, s.start = "", "", "", file{}
	return nil
}

// path is a file's in the folder.
func (s *Session) path(name string) string { return s.folder + "/" + name }
