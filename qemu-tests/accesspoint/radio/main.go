// Command radio is the wireless world of a virtual access point: it runs in the
// appliance under test, as a service of its graph, and has the second of two
// simulated radios in a network namespace of its own.
//
//	radio                    make it: radios, secrets, hostapd, DHCP, a web server
//	radio reach HOST PORT    try a TCP connection from there: open, refused or silence
//	radio try HOST PORT      the same from the appliance
//	radio tell PORT          write the state of all services to a virtio-serial port
//
// What is in the folder /run/radio changes it while it runs: with a file off there
// is no access point; the file key has its password.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/victorinix/vic/internal/service"
	"github.com/victorinix/vic/qemu-tests/accesspoint/reach"
	"github.com/victorinix/vic/qemu-tests/lab/port"
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
		fmt.Println(reach.TCP(args[1], args[2]))
		return nil
	case args[0] == "tell" && len(args) == 2:
		return tell(args[1])
	}
	return fmt.Errorf("cannot do %q", args)
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
	if err := rename(); err != nil {
		return err
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

// rename gives the appliance's cards other names each time, and the wireless one
// another address: QEMU sees to that of the other.
func rename() error {
	cards, err := filepath.Glob("/sys/class/net/*/device")
	if err != nil {
		return err
	}
	for _, card := range cards {
		name := filepath.Base(filepath.Dir(card))
		more := []string{"name", fmt.Sprintf("card%04x", rand.IntN(1<<16))}
		if strings.HasPrefix(name, "wlan") {
			more = append(more, "address", fmt.Sprintf("02:00:00:%02x:%02x:%02x", rand.IntN(256), rand.IntN(256), rand.IntN(256)))
		}
		if err := say("ip", append([]string{"link", "set", name, "down"}, more...)...); err != nil {
			return err
		}
	}
	return nil
}

// tell waits until what is written of the services is that all of them are ready.
func tell(name string) error {
	out, err := port.Open(name)
	if err != nil {
		return err
	}
	defer out.Close()
	for range 100 {
		b, err := os.ReadFile("/run/vic/services/state.json")
		if err != nil {
			return err
		}
		var status service.Status
		if err := json.Unmarshal(b, &status); err != nil {
			return err
		}
		if !slices.ContainsFunc(status.Services, func(s service.ServiceStatus) bool {
			return s.Name != "tell" && s.State != service.Running && s.State != service.Done
		}) {
			_, err := out.Write(b)
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.New("not all services are ready")
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
