// Package facts checks in virtual machines that what vic finds out about a
// machine is what others say of it: udev of the names of network interfaces,
// smartctl, lspci, lsusb, lsblk, iw and their like of the rest. The RAM system's
// network has tests here that need a kernel with every kind of link.
package facts
