package layout

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a type's options become, as disko defines them.
func TestVariables(t *testing.T) {
	yes, five := true, 5
	for name, tt := range map[string]struct {
		spec any
		more []string
		want Variables
	}{
		"filesystem": {&Filesystem{Format: "ext4", Mountpoint: "/a b", ExtraArgs: []string{"-L", "it's"}, Hooks: Hooks{PreCreate: "x"}}, []string{"type", "filesystem"}, Variables{
			Text: map[string]string{"format": "ext4", "mountpoint": "/a b", "type": "filesystem"},
			List: map[string][]string{"mountOptions": {"defaults"}, "extraArgs": {"-L", "it's"}}, Map: map[string]map[string]string{},
		}},
		"luks": {&LUKS{Name: "c", AskPassword: &yes, Content: &Content{}}, nil, Variables{
			Text: map[string]string{"name": "c", "passwordFile": "", "keyFile": "", "askPassword": "1", "initrdUnlock": "1", "enrollFido2": "", "enrollRecovery": ""},
			List: map[string][]string{"additionalKeyFiles": nil, "extraFormatArgs": nil, "extraOpenArgs": nil, "extraFido2EnrollArgs": nil}, Map: map[string]map[string]string{},
		}},
		"swap": {&Swap{Priority: &five, ResumeDevice: true}, nil, Variables{
			Text: map[string]string{"discardPolicy": "", "priority": "5", "randomEncryption": "", "resumeDevice": "1"},
			List: map[string][]string{"extraArgs": nil, "mountOptions": {"defaults"}}, Map: map[string]map[string]string{},
		}},
		"pool": {Pool{Mode: "mirror", Options: map[string]string{"ashift": "12"}, Datasets: map[string]Dataset{"a": {}}}, []string{"type", "zpool", "name", "tank"}, Variables{
			Text: map[string]string{"type": "zpool", "name": "tank", "mountpoint": ""},
			List: map[string][]string{"mountOptions": {"defaults"}}, Map: map[string]map[string]string{"options": {"ashift": "12"}, "rootFsOptions": nil},
		}},
		"table": {&MBR{Format: "msdos"}, nil, Variables{Text: map[string]string{"format": "msdos"}, List: map[string][]string{}, Map: map[string]map[string]string{}}},
	} {
		if diff := cmp.Diff(tt.want, VariablesOf(tt.spec, tt.more...)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// The shells read what was meant, whatever is in it.
func TestShellVariables(t *testing.T) {
	odd := "it's $HOME `id` \\ \"x\"\nnext"
	v := Variables{Text: map[string]string{"a": odd, "none": ""}, List: map[string][]string{"l": {"x y", odd}, "empty": nil}, Map: map[string]map[string]string{"m": {"com.sun:auto": odd, "b c": "1"}}}
	for shell, script := range map[string]string{
		"sh":   `printf '%s|%s' "$a" "$none"`,
		"bash": `printf '%s|%s|%s|%s|%s|%s|%s|%s' "$a" "$none" "${#l[@]}" "${l[0]}" "${l[1]}" "${#empty[@]}" "${m[com.sun:auto]}" "${m[b c]}"`,
	} {
		out, err := exec.Command(shell, "-efu", "-c", v.Shell(shell == "bash")+script).CombinedOutput()
		want := odd + "|"
		if shell == "bash" {
			want += "|2|x y|" + odd + "|0|" + odd + "|1"
		}
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%s: %v\n got %q\nwant %q", shell, err, out, want)
		}
	}
}
