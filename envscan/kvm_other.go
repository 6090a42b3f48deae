//go:build !amd64 && !arm64

package envscan

import "errors"

// runGuest: there is no guest for this architecture.
func runGuest(string) error { return errors.ErrUnsupported }
