package ramsys

import "testing"

func TestEmulated(t *testing.T) {
	for cpuinfo, want := range map[string]bool{
		"processor\t: 0\nmodel name\t: QEMU TCG CPU version 2.5+\n":         true,
		"processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Processor @ 2GHz\n": false,
		"processor\t: 0\nmodel name\t: QEMU Virtual CPU version 2.5+\n":     false, // also KVM's
		"": false,
	} {
		if got := emulated([]byte(cpuinfo)); got != want {
			t.Errorf("emulated(%q) = %v", cpuinfo, got)
		}
	}
}
