package reinstall

import (
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/agent/storage"
)

// inFile says whether the stage is still in a file of the system before (see
// stage.Extent): the table is the one that was there when the stage was made.
func (r *run) inFile(now layout.Table) bool {
	return r.Document.Extent != nil && storage.SameTable(r.Document.Extent.Before, now)
}
