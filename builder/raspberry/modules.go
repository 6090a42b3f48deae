package raspberry

import "slices"

// EarlyModules are what the initramfs of a card has, beside what any has: the way
// to the card, in its own reader or on USB, and its file systems. The rest is in the
// system image.
func EarlyModules() []string {
	return []string{
		"machine-early", "vfat", "nls_ascii", "nls_cp437", "ext4", "crc32c_generic",
		// SD cards, and what switches their voltage.
		"bcm2835", "sdhci-iproc", "gpio-regulator", "fixed",
		// A stick on USB: dwc2 is the Pi 3's host, xhci-pci the Pi 4's, which is
		// reset by the firmware.
		"usb-storage", "uas", "sd_mod", "dwc2", "phy-generic", "xhci-pci", "reset-raspberrypi",
	}
}

// Modules are what the system image of a card has of the boards' own devices: Wi-Fi,
// Ethernet, USB with any adapter, clock and watchdog.
func Modules() []string {
	return slices.Concat(EarlyModules(), []string{
		"brcmfmac", "brcmfmac-wcc", "brcmfmac-cyw", "genet", "bcm-phy-lib", "broadcom", "smsc95xx", "lan78xx", "microchip",
		"usb", "network-wired", "bcm2835_wdt", "bcm2835-rng", "iproc-rng200", "bcm2835_thermal", "bcm2711_thermal",
		"raspberrypi-cpufreq", "i2c-bcm2835", "pwm-bcm2835", "leds-gpio",
	})
}

// FirmwarePackages bring the firmware of the boards' Wi-Fi.
func FirmwarePackages() []string { return []string{"firmware-brcm80211", firmwarePackage} }
