package netname

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Scheme is a naming scheme: a name that udev knows, and what it does
// differently from the one before.
type Scheme struct {
	Name  string // "v257"
	flags flags
}

// flags are the points in which schemes differ.
type flags uint

const (
	sriovSuffix     flags = 1 << iota // a virtual function is named after its physical one, with v<number>
	nparARI                           // with ARI, slot and function are one number
	infiniband                        // InfiniBand interfaces have names
	indexZero                         // firmware index 0 counts
	netdevsim                         // netdevsim interfaces have names
	bridgeNoSlot                      // the slot of a bridge does not name what is behind it
	slotFunctionID                    // s390: the slot is the function_id
	index16                           // firmware indices up to 65535 count, not up to 16383
	xenVIF                            // Xen interfaces have names
	bridgeMultiSlot                   // ... unless the device behind the bridge has several functions
	aliases                           // device tree aliases of the parent
	usbHost                           // USB behind a host that is not on PCI
	sriovRep                          // representors of virtual functions end in r<number>
	firmwareSUN                       // slots by firmware_node/sun
	portAliases                       // device tree aliases of the interface itself
	// rewritten is no part of a scheme: udev 254 read ports with new code, which
	// knows dev_id for what it is, and gives no name where the driver's name of a
	// port has bytes that are not to be shown. Who follows an older scheme has
	// an older udev, nearly always.
	rewritten
)

// schemes are those that change a name: v245 (names of containers) and the like
// are in it because udev accepts them.
func schemes() []Scheme {
	steps := []struct {
		version  int
		add, cut flags
	}{
		{238, 0, 0},
		{239, sriovSuffix | nparARI, 0},
		{240, infiniband | indexZero, 0},
		{241, 0, 0}, // MAC addresses of virtual interfaces
		{243, netdevsim, 0},
		{245, 0, 0}, // interfaces of containers
		{247, bridgeNoSlot, 0},
		{249, slotFunctionID | index16, 0},
		{250, xenVIF, 0},
		{251, bridgeMultiSlot, 0},
		{252, aliases, 0},
		{253, usbHost, 0},
		{254, sriovRep | rewritten, 0},
		{255, 0, bridgeMultiSlot},
		{257, firmwareSUN | portAliases, 0},
	}
	var list []Scheme
	var f flags
	for _, s := range steps {
		f = f&^s.cut | s.add
		list = append(list, Scheme{fmt.Sprintf("v%d", s.version), f})
	}
	return list
}

func (s Scheme) has(f flags) bool { return s.flags&f != 0 }

// Schemes are all known schemes, oldest first.
func Schemes() []Scheme { return schemes() }

// Find is the scheme of that name.
func Find(name string) (Scheme, error) {
	list := schemes()
	if i := slices.IndexFunc(list, func(s Scheme) bool { return s.Name == name }); i >= 0 {
		return list[i], nil
	}
	return Scheme{}, fmt.Errorf("find naming scheme %q: expected one of %s to %s of systemd.net-naming-scheme(7)", name, list[0].Name, list[len(list)-1].Name)
}

// Latest is the newest scheme that is known here.
func Latest() Scheme {
	list := schemes()
	return list[len(list)-1]
}

// OfSystemd is the scheme that a release of systemd follows by default: its
// own, or else the newest one before it. Release 254 has scheme v254 but follows
// v253. A version may have the suffixes of a package: "257.13-1~deb13u1". Of
// releases after the newest scheme known here, exact is false: they may know
// better.
func OfSystemd(version string) (s Scheme, exact bool, err error) {
	version = strings.TrimPrefix(version, "1:") // epoch
	digits := strings.IndexFunc(version+".", func(r rune) bool { return r < '0' || r > '9' })
	release, err := strconv.Atoi(version[:digits])
	if err != nil || release < 238 {
		return Scheme{}, false, fmt.Errorf("find naming scheme of systemd %q: expected a version of 238 or later", version)
	}
	exact = release <= 257
	if release == 254 {
		release = 253
	}
	for _, c := range schemes() {
		if n, err := strconv.Atoi(c.Name[1:]); err == nil && n <= release {
			s = c
		}
	}
	return s, exact, nil
}
