package envscan

// busProbes find what is plugged in, and the kernel modules for it.
var busProbes = []prober{}
