// Package facts checks in virtual machines that what vic finds out about a
// machine is what others say of it: udev of the names of network interfaces,
// smartctl, lspci, lsusb, lsblk, iw and their like of the rest.
package facts
