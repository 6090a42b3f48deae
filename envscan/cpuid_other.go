//go:build !amd64

package envscan

// hypervisor: processors of this architecture do not tell.
func hypervisor() (signature string, present bool) { return "", false }
