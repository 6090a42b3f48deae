package accesspoint

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"html/template"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/victorinix/vic/internal/accesspoint"
	"github.com/victorinix/vic/internal/agent/supervisor"
	"github.com/victorinix/vic/internal/service"
)

//go:embed portal.html
var portalHTML string

// page is what the status page shows.
type page struct {
	Hostname string
	State    string // of the wireless side
	Why      string
	Online   bool
	SSID     string
	BSSID    string
	Signal   string
	Address  string
	Gateway  string
	Gateway6 string
	Subnet   string
	Clients  []accesspoint.Lease
	Services []service.ServiceStatus
}

// portal serves the status page on the address of the Ethernet side. It shows, and
// changes nothing.
func (a appliance) portal(ctx context.Context) error {
	address, err := need("lan", "address")
	if err != nil {
		return err
	}
	t, err := template.New("portal").Parse(portalHTML)
	if err != nil {
		return err
	}
	secrets, err := a.secrets()
	if err != nil {
		log.Print(err) // the page says so, too
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		var b bytes.Buffer
		if err := t.Execute(&b, a.page(secrets.SSID)); err != nil {
			log.Print(err)
			http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = b.WriteTo(w) // whoever has gone needs no page
	})
	server := &http.Server{
		Addr: net.JoinHostPort(address, "80"), Handler: mux,
		ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 30 * time.Second, MaxHeaderBytes: 8 << 10,
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// page collects what the services say. What there is not is shown as that.
func (a appliance) page(ssid string) page {
	get := func(name, key string) string {
		v, _, err := supervisor.Of(name).Get(key)
		if err != nil {
			log.Print(err)
		}
		return v
	}
	p := page{
		Hostname: a.options.Hostname, SSID: ssid, State: get("wifi", "state"), Why: get("wifi", "why"), BSSID: get("wifi", "bssid"), Signal: get("wifi", "signal"),
		Address: get("uplink", "address"), Gateway: get("uplink", "gateway"), Gateway6: get("uplink6", "default"), Subnet: get("lan", "subnet"),
	}
	if st, err := supervisor.ReadStatus(os.Getenv("VIC_SERVICES")); err != nil {
		log.Print(err)
	} else {
		p.Services = st.Services
	}
	switch {
	case get("cards", "wifi") == "":
		p.Why = "there is no wireless card"
	case p.State == "":
		p.Why = reason(p.Services, "wifi")
	case p.State == accesspoint.Connected && p.Address == "":
		p.Why = "the network gives no address"
	}
	p.Online = p.State == accesspoint.Connected && p.Address != ""
	if b, err := os.ReadFile(leaseFile); err == nil {
		p.Clients = accesspoint.Leases(string(b))
	}
	return p
}

// reason is why a service is not there.
func reason(services []service.ServiceStatus, name string) string {
	for _, s := range services {
		if s.Name == name && s.Reason != "" {
			return string(s.State) + ", " + s.Reason
		} else if s.Name == name {
			return string(s.State)
		}
	}
	return ""
}
