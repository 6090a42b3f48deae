// Package network has the networks in which machines stand that are reached from
// elsewhere: a client, a router, and the cables between them, as the tests of
// `vic install --on` need them.
//
//	client ── veth ── router ── tap ══ switch ══ cable ── card of the machine
//	(namespace)     (namespace)        (VLANs)            (vm.NIC.Cable)
//
// Client and router are network namespaces without names: they go with the process,
// whatever becomes of it. The switch is part of this process, as kernels of test
// machines lack bridges and VLANs. The client has no address in the machine's
// network: what it gets an answer from has a way back, by its default route.
//
// The package knows how a Debian of the time is told about its network (Place), and
// nothing about what the machine does then.
package network
