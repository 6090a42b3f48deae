package raspberry

// EarlyModules are the module sets of a card's initramfs: see initramfs/sets.yaml.
func EarlyModules() []string { return []string{"raspberry-pi-early"} }

// Modules are the module sets of a card's system, in place of those for any machine:
// a slot has to have room for updates, and a Pi has no use for most.
func Modules() []string { return []string{"raspberry-pi", "firewall"} }

// FirmwarePackages bring the firmware of the boards' Wi-Fi.
func FirmwarePackages() []string { return []string{"firmware-brcm80211", firmwarePackage} }
