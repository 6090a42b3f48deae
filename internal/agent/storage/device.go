package storage

import plan "github.com/victorinix/vic/internal/plan/storage"

// Path is the path of a device that is there, of the disk that has the right
// identity now.
func (e *Executor) Path(d plan.Device) (string, error) {
	e.seen = nil
	return e.path(d)
}

// Key is the part of a secret that a container is opened with.
func (e *Executor) Key(k plan.KeyFile) ([]byte, error) { return e.key(k) }
