package facts

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/victorinix/vic/envscan"
)

// hardwareSMBIOS is what the machine's firmware says of it.
var hardwareSMBIOS = []string{
	"type=1,manufacturer=Example Works,product=Example 3000,version=Rev. B,serial=S-0001,sku=K-0001,family=Example,uuid=6f1c2d3e-0001-4000-8000-00000000abcd",
	"type=2,manufacturer=Example Boards,product=EB-1,version=1.1,serial=B-0001,asset=A-0001",
	"type=17,manufacturer=Example Memory,part=EM-512,serial=D-0001,asset=A-0002,speed=3200",
}

// checkDMI compares with what dmidecode prints.
func checkDMI(t *testing.T, facts envscan.Facts, out string) {
	t.Helper()
	d := facts.HW.DMI
	same := func(title string, fields ...[2]string) {
		section := regexp.MustCompile(`(?m)^` + title + `\n((?:\t.*\n?)*)`).FindStringSubmatch(out)
		if section == nil {
			t.Fatalf("dmidecode has no %q:\n%s", title, out)
		}
		for _, f := range fields {
			if want := fmt.Sprintf("\t%s: %s\n", f[0], f[1]); f[1] == "" || !strings.Contains(section[1], want) {
				t.Errorf("%s: %q is not among\n%s", title, want, section[1])
			}
		}
	}
	same("System Information", [2]string{"Manufacturer", d.Vendor}, [2]string{"Product Name", d.Product}, [2]string{"Version", d.Version},
		[2]string{"Serial Number", d.Serial}, [2]string{"UUID", d.UUID}, [2]string{"SKU Number", d.SKU}, [2]string{"Family", d.Family})
	same("Base Board Information", [2]string{"Manufacturer", d.BoardVendor}, [2]string{"Product Name", d.Board}, [2]string{"Version", d.BoardVersion},
		[2]string{"Serial Number", d.BoardSerial})
	if len(facts.HW.Memory.DIMM) != 1 {
		t.Fatalf("memory modules: %+v", facts.HW.Memory.DIMM)
	}
	m := facts.HW.Memory.DIMM[0]
	same("Memory Device", [2]string{"Size", fmt.Sprintf("%d MB", m.Size>>20)}, [2]string{"Locator", m.Slot}, [2]string{"Type", m.Type},
		[2]string{"Speed", fmt.Sprintf("%d MT/s", m.Speed)}, [2]string{"Manufacturer", m.Manufacturer}, [2]string{"Part Number", m.Part}, [2]string{"Serial Number", m.Serial})
}

// node is a part of a machine, as lshw prints it.
type node struct {
	Class, Vendor, Product, Version, Serial, Description string
	LogicalName                                          any // one, or a list
	Size                                                 int64
	Children                                             []node
}

// all are a node and everything below it.
func (n node) all() []node {
	list := []node{n}
	for _, c := range n.Children {
		list = append(list, c.all()...)
	}
	return list
}

// checkLSHW compares with lshw: it reads the same kernel and firmware in its own
// way.
func checkLSHW(t *testing.T, facts envscan.Facts, out string) {
	t.Helper()
	var root node
	if err := json.Unmarshal([]byte(out), &root); err != nil {
		t.Fatalf("lshw: %v\n%s", err, out)
	}
	if got, want := fmt.Sprint(root.Vendor, root.Product, root.Version, root.Serial), fmt.Sprint(facts.HW.DMI.Vendor, facts.HW.DMI.Product+" ("+facts.HW.DMI.SKU+")", facts.HW.DMI.Version, facts.HW.DMI.Serial); got != want {
		t.Errorf("lshw: the machine is %q, here %q", got, want)
	}
	var disks, nics, processors []string
	var memory int64
	for _, n := range root.all() {
		name, _ := n.LogicalName.(string)
		switch {
		case n.Class == "disk" && strings.HasPrefix(name, "/dev/") && n.Size > 0:
			disks = append(disks, fmt.Sprintf("%s %d", strings.TrimPrefix(name, "/dev/"), n.Size))
		case n.Class == "network" && name != "": // the virtio device is one too
			nics = append(nics, name+" "+n.Serial)
		case n.Class == "processor":
			processors = append(processors, n.Product)
		case n.Class == "memory" && n.Description == "System Memory":
			memory += n.Size
		}
	}
	if len(disks) < 4 { // it finds none behind SCSI, without the module sg
		t.Errorf("lshw: disks %q", disks)
	}
	for _, d := range disks {
		if !slices.ContainsFunc(facts.HW.Disk, func(ours envscan.Disk) bool { return fmt.Sprintf("%s %d", ours.Name, ours.Size) == d }) {
			t.Errorf("lshw: disk %q is not among %+v", d, facts.HW.Disk)
		}
	}
	var ours []string
	for _, n := range facts.HW.NIC {
		ours = append(ours, n.Name+" "+n.HWAddr)
	}
	sameLists(t, "lshw", ours, nics)
	if memory != facts.HW.Memory.DIMM[0].Size {
		t.Errorf("lshw: %d bytes of memory, here %+v", memory, facts.HW.Memory)
	}
	if len(processors) != facts.HW.CPU.Count {
		t.Errorf("lshw: processors %q, here %+v", processors, facts.HW.CPU)
	}
}

// mostMemory is what a scan may take, in bytes.
const mostMemory = 60 << 20

// checkCost: the memory is bounded; times are told beside those of lshw, and
// compared in make bench.
func checkCost(t *testing.T, out map[string]string) {
	t.Helper()
	cost := func(name string) (ms, bytes int64) {
		if n, err := fmt.Sscan(out["cost of "+name], &ms, &bytes); n != 2 {
			t.Fatalf("the cost of %s is %q: %v", name, out["cost of "+name], err)
		}
		return ms, bytes
	}
	ours, most := cost("dump")
	again, _ := cost("again")
	theirs, _ := cost("lshw")
	t.Logf("vic-env dump took %d and %d ms and %d MiB, lshw %d ms", ours, again, most>>20, theirs)
	if most == 0 || most > mostMemory {
		t.Errorf("vic-env dump took %d bytes of memory, more than %d", most, mostMemory)
	}
}
