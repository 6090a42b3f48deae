package envscan

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/disk/sysfs"
)

func nicsOf(t *testing.T, tr tree) []NIC {
	t.Helper()
	s := scanner{root: sysfs.Root(tr.write(t))}
	nics, _ := s.nics()
	if len(s.gaps) > 0 {
		t.Errorf("gaps: %+v", s.gaps)
	}
	return nics
}

// A bond gives its ports one address, that of the first. Each still has its own.
func TestBondRewritesAddresses(t *testing.T) {
	tr := tree{}
	tr.nic("eth0", "pci0000:00/0000:00:03.0", "e1000e", "02:00:00:00:00:01", tree{"addr_assign_type": "3\n"})
	tr.nic("eth1", "pci0000:00/0000:00:04.0", "e1000e", "02:00:00:00:00:01", tree{"addr_assign_type": "3\n"})
	tr.nic("bond0", "virtual", "bonding", "02:00:00:00:00:01", tree{})
	without := nicsOf(t, tr)
	for _, n := range without {
		if n.HWAddr != "" || n.HWAddrFrom != "assigned" || n.Current != "02:00:00:00:00:01" {
			t.Errorf("without the bond's own word: %+v", n)
		}
	}
	tr["proc/net/bonding/bond0"] = "Ethernet Channel Bonding Driver: v6.12\n\nBonding Mode: 802.3ad\n\n" +
		"Slave Interface: eth0\nMII Status: up\nPermanent HW addr: 02:00:00:00:00:01\nSlave queue ID: 0\n\n" +
		"Slave Interface: eth1\nMII Status: up\nPermanent HW addr: 02:00:00:00:00:02\nSlave queue ID: 0\n"
	nics := nicsOf(t, tr)
	if len(nics) != 2 || nics[0].HWAddr != "02:00:00:00:00:01" || nics[1].HWAddr != "02:00:00:00:00:02" || nics[1].HWAddrFrom != "permanent" {
		t.Errorf("%+v", nics)
	}
}

func TestNICKinds(t *testing.T) {
	tr := tree{}
	at := func(slot string) string { return "pci0000:00/0000:00:" + slot + ".0" }
	tr.nic("wwan0", at("01"), "iosm", "", tree{"type": "519\n", "uevent": "DEVTYPE=wwan\n"})
	tr.nic("wlan0", at("02"), "iwlwifi", "02:00:00:00:00:02", tree{"uevent": "DEVTYPE=wlan\n", "name_assign_type": "1\n"})
	tr.nic("ra0", at("03"), "old", "02:00:00:00:00:03", tree{"wireless/link": "0\n"})
	tr.nic("ib0", at("04"), "mlx5", "80:00:00:48:fe:80:00:00:00:00:00:00:02:00:00:00:00:00:00:01", tree{"type": "32\n"})
	tr.nic("can0", at("05"), "can", "", tree{"type": "280\n"})
	tr.nic("eth1", at("06"), "e1000e", "02:00:00:00:00:06", tree{"name_assign_type": "4\n"})
	tr.nic("eth0", at("07"), "e1000e", "02:00:00:00:00:07", tree{})
	tr["sys/devices/"+at("07")+"/acpi_index"] = "1\n"
	tr["sys/devices/"+at("07")+"/label"] = "LAN 1\n"
	var got []string
	for _, n := range nicsOf(t, tr) {
		index := "-"
		if n.Index != nil {
			index = strconv.FormatInt(*n.Index, 10)
		}
		got = append(got, strings.Join([]string{n.Kind, n.Name, index, n.Label, n.NameFrom, n.Names[len(n.Names)-1].Path}, " "))
	}
	want := []string{
		"ethernet eth0 1 LAN 1  enp0s7", // the firmware's first, though it is last on the bus
		"ethernet eth1 -  renamed enp0s6",
		"infiniband ib0 -   ibp0s4",
		"wlan wlan0 -  enumerated wlp0s2",
		"wlan ra0 -   enp0s3", // udev goes by DEVTYPE alone
		"wwan wwan0 -   ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFastest(t *testing.T) {
	for _, tt := range []struct {
		bits []int
		want int64
	}{
		{nil, 0},
		{[]int{6, 7, 13}, 0},
		{[]int{0, 1, 2, 3, 5, 6, 7}, 1000},
		{[]int{5, 12, 47, 48}, 10000},
		{[]int{31, 41}, 25000},
		{[]int{98}, 800000},
		{[]int{200}, 0},
	} {
		mask := make([]uint32, 4)
		for _, b := range tt.bits {
			if b < 128 {
				mask[b/32] |= 1 << (b % 32)
			}
		}
		if got := fastest(mask); got != tt.want {
			t.Errorf("fastest(%v) = %d, want %d", tt.bits, got, tt.want)
		}
	}
}

// The kernel's own header says what the bits of a link mode are.
func TestModesAgreeWithTheKernel(t *testing.T) {
	const header = "/usr/include/linux/ethtool.h"
	out, err := os.ReadFile(header)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s is not there: install linux-libc-dev", header)
	} else if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, f := range strings.FieldsFunc(strings.ReplaceAll(string(out), "\t", " "), func(r rune) bool { return r == ',' || r == '\n' }) {
		name, value, ok := strings.Cut(strings.Join(strings.Fields(f), " "), "_BIT = ")
		name, mode := strings.CutPrefix(name, "ETHTOOL_LINK_MODE_")
		bit, err := strconv.Atoi(value)
		if !ok || !mode || err != nil {
			continue
		}
		var want int64
		if speed, _, ok := strings.Cut(name, "base"); ok {
			want, _ = strconv.ParseInt(speed, 10, 64)
		}
		mask := make([]uint32, 5)
		mask[bit/32] = 1 << (bit % 32)
		if got := fastest(mask); got != want {
			t.Errorf("bit %d, %s: %d, want %d", bit, name, got, want)
		}
		seen++
	}
	if seen < 80 {
		t.Errorf("the header has %d link modes: the test checks nothing", seen)
	}
}
