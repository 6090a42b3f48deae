// Command radio is the wireless world of a virtual access point: it runs in the
// appliance under test, as a service of its graph, and has the second of two
// simulated radios in a network namespace of its own.
//
//	radio                    make it: radios, secrets, hostapd, DHCP, a web server
//	radio reach HOST PORT    try a TCP connection from there: open, refused or silence
//
// What is in the folder /run/radio changes it while it runs: with a file off there
// is no access point; the file key has its password.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	dir       = "/run/radio"
	stateDir  = "/run/vic/state"
	namespace = "air"
	password  = "correct horse"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "radio:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 0:
		return world()
	case args[0] == "web":
		return web()
	case args[0] == "route":
		return route()
	case args[0] == "reach" && len(args) == 3:
		return inside("/radio", "try", args[1], args[2])
	case args[0] == "try" && len(args) == 3:
		fmt.Println(try(args[1], args[2]))
		return nil
	}
	return fmt.Errorf("cannot do %q", args)
}

func try(host, port string) string {
	c, err := net.DialTimeout("tcp", net.JoinHostPort(host, port), 2*time.Second)
	var late net.Error
	switch {
	case err == nil:
		c.Close()
		return "open"
	case errors.As(err, &late) && late.Timeout():
		return "silence"
	}
	return "refused: " + err.Error()
}

// route makes this network namespace a router, which says so to its neighbours: Linux
// forgets a default route through one that does not (RFC 4861 §7.2.5).
func route() error {
	return os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0o644)
}

func web() error {
	return http.ListenAndServe(":80", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "the internet")
	}))
}

func say(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return nil
}

func inside(args ...string) error {
	return say("ip", append([]string{"netns", "exec", namespace}, args...)...)
}

// world makes everything, and keeps the access point as the files say.
func world() error {
	for _, d := range []string{dir, stateDir} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	secrets := fmt.Sprintf(`{"wifi-ssid": "my wifi", "wifi-psk": %q}`, password)
	if err := os.WriteFile(filepath.Join(stateDir, "secrets.json"), []byte(secrets), 0o600); err != nil {
		return err
	}
	for _, command := range []string{
		"modprobe mac80211_hwsim",
		"ip netns add " + namespace,
		"iw phy phy1 set netns name " + namespace,
	} {
		words := strings.Fields(command)
		if err := say(words[0], words[1:]...); err != nil {
			return err
		}
	}
	for _, command := range []string{
		"/radio route",
		"ip link set lo up",
		"ip addr add 203.0.113.1/32 dev lo",
		"ip addr add 2001:db8:1::1/128 dev lo nodad",
		"ip addr add 10.0.99.1/24 dev wlan1",
		"ip addr add 2001:db8:99::1/64 dev wlan1 nodad",
		"ip link set wlan1 up",
	} {
		if err := inside(strings.Fields(command)...); err != nil {
			return err
		}
	}
	for _, server := range [][]string{{"/radio", "web"}, {"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=",
		"--no-resolv", "--no-hosts", "--interface=wlan1", "--bind-dynamic", "--except-interface=lo", "--user=root", "--log-facility=-",
		"--dhcp-authoritative", "--no-ping", "--dhcp-range=10.0.99.10,10.0.99.20,10m", "--dhcp-leasefile=" + dir + "/leases", "--enable-ra",
		"--dhcp-range=2001:db8:99::,ra-only,64", "--ra-param=wlan1,4,60",
		"--address=/internet.test/203.0.113.1", "--address=/internet.test/2001:db8:1::1"}} {
		if _, err := start(server...); err != nil {
			return err
		}
	}
	return keepAccessPoint()
}

func start(args ...string) (*exec.Cmd, error) { return startIn(os.Stdout, args...) }

func startIn(out io.Writer, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command("ip", append([]string{"netns", "exec", namespace}, args...)...)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	return cmd, cmd.Start()
}

// enabled is what hostapd says. The world is made when its access point is there: who
// looks for it before that looks again much later.
type enabled struct{ io.Writer }

func (e enabled) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("AP-ENABLED")) {
		if err := os.WriteFile(os.Getenv("VIC_OUTPUTS")+"/made", nil, 0o644); err != nil {
			return 0, err
		}
	}
	return e.Writer.Write(b)
}

// keepAccessPoint starts and ends hostapd.
func keepAccessPoint() error {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	var ap *exec.Cmd
	runs := ""
	for tick := time.NewTicker(200 * time.Millisecond); ; {
		want := wanted()
		if want != runs && ap != nil {
			if err := ap.Process.Signal(syscall.SIGTERM); err != nil {
				return err
			}
			_ = ap.Wait() // ended by the signal
			ap = nil
		}
		if runs = want; want != "" && ap == nil {
			if err := os.WriteFile(dir+"/hostapd.conf", []byte(want), 0o600); err != nil {
				return err
			}
			var err error
			if ap, err = startIn(enabled{os.Stdout}, "hostapd", dir+"/hostapd.conf"); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ended:
			return nil
		}
	}
}

// wanted is the configuration of hostapd; "" without an access point.
func wanted() string {
	if _, err := os.Stat(dir + "/off"); err == nil {
		return ""
	}
	key := password
	if b, err := os.ReadFile(dir + "/key"); err == nil {
		key = strings.TrimSpace(string(b))
	}
	return "interface=wlan1\ndriver=nl80211\nssid=my wifi\nhw_mode=g\nchannel=1\nwpa=2\nwpa_key_mgmt=WPA-PSK SAE\nrsn_pairwise=CCMP\nieee80211w=1\nwpa_passphrase=" + key + "\n"
}
