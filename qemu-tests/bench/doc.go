// Package bench measures what vic promises about size and speed, as ratios
// within one run, and writes docs/benchmarks.md.
//
//	bin/vic build, bin/vic install --vm   as a user runs them, timed by their events
//	boot:  kernel + initrd in a machine, in turns with the least init (hello)
//	copy:  copytree and tar in one machine, in turns (guest)
//
// Everything is a median of several rounds. It measures and does not judge:
// the table says what is met, the caller decides what follows.
package bench
