package network

// The machines' sides of the networks, as their administrators would have written
// them: not by vic, which has to understand what comes of them.

const loopback = "auto lo\niface lo inet loopback\n"

const dhcpInterfaces = loopback + `
auto enp0s16
iface enp0s16 inet dhcp
`

var dhcpNetworkd = map[string]string{"10-lan.network": `[Match]
MACAddress=52:54:00:76:6e:00

[Network]
DHCP=ipv4
IPv6AcceptRA=no
`}

// ifupdown adds "onlink" to every gateway.
const staticInterfaces = loopback + `
auto enp0s16
iface enp0s16 inet static
	address 192.0.2.20/32
	gateway 10.7.0.1
iface enp0s16 inet6 static
	address 2001:db8:20::20/64
	gateway 2001:db8:7::1
`

var staticNetworkd = map[string]string{"10-lan.network": `[Match]
MACAddress=52:54:00:76:6e:00

[Network]
Address=192.0.2.20/32
Address=2001:db8:20::20/64
DNS=10.7.0.1
DNS=2001:db8:7::1
IPv6AcceptRA=no

[Route]
Gateway=10.7.0.1
GatewayOnLink=yes

[Route]
Gateway=2001:db8:7::1
GatewayOnLink=yes
`}

const bondInterfaces = loopback + `
auto bond0
iface bond0 inet manual
	bond-slaves enp0s16 enp0s17
	bond-mode active-backup
	bond-miimon 100

auto bond0.42
iface bond0.42 inet static
	vlan-raw-device bond0
	address 10.7.42.20/24
	gateway 10.7.42.1
`

var bondNetworkd = map[string]string{
	"10-bond0.netdev":  "[NetDev]\nName=bond0\nKind=bond\n\n[Bond]\nMode=active-backup\nMIIMonitorSec=100ms\n",
	"10-vlan42.netdev": "[NetDev]\nName=bond0.42\nKind=vlan\n\n[VLAN]\nId=42\n",
	"20-cards.network": `[Match]
PermanentMACAddress=52:54:00:76:6e:00 52:54:00:76:6e:01

[Network]
Bond=bond0
`,
	"20-bond0.network": "[Match]\nName=bond0\n\n[Network]\nVLAN=bond0.42\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
	"30-vlan42.network": `[Match]
Name=bond0.42

[Network]
Address=10.7.42.20/24
Gateway=10.7.42.1
DNS=10.7.42.1
IPv6AcceptRA=no
`,
}

const twoInterfaces = loopback + `
auto enp0s16
iface enp0s16 inet static
	address 10.7.1.20/24
	gateway 10.7.1.1
	metric 100

auto enp0s17
iface enp0s17 inet static
	address 10.7.2.20/24
	gateway 10.7.2.1
	metric 200
`

var twoNetworkd = map[string]string{
	"10-first.network": `[Match]
MACAddress=52:54:00:76:6e:00

[Network]
Address=10.7.1.20/24
DNS=10.7.1.1
IPv6AcceptRA=no

[Route]
Gateway=10.7.1.1
Metric=100
`,
	"10-second.network": `[Match]
MACAddress=52:54:00:76:6e:01

[Network]
Address=10.7.2.20/24
DNS=10.7.2.1
IPv6AcceptRA=no

[Route]
Gateway=10.7.2.1
Metric=200
`,
}

const raInterfaces = loopback + `
auto enp0s16
iface enp0s16 inet6 auto
`

var raNetworkd = map[string]string{"10-lan.network": `[Match]
MACAddress=52:54:00:76:6e:00

[Network]
DHCP=no
IPv6AcceptRA=yes
`}
