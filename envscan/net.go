package envscan

// netProbes find how the running system is on the network.
var netProbes = []prober{}
