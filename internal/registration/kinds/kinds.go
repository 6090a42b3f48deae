// Package kinds lists all kinds of changes that vic registers on a host.
package kinds

import (
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/boot"
	"github.com/victorinix/vic/internal/registration/file"
	"github.com/victorinix/vic/internal/registration/storage"
)

// All are the kinds by their names.
func All() registration.Kinds {
	return registration.Kinds{
		file.Kind:              {Version: file.Version, New: func() registration.Change { return new(file.File) }},
		boot.EntryKind:         {Version: boot.Version, New: func() registration.Change { return new(boot.Entry) }},
		boot.VariableKind:      {Version: boot.Version, New: func() registration.Change { return new(boot.Variable) }},
		boot.GrubKind:          {Version: boot.Version, New: func() registration.Change { return new(boot.GrubVariable) }},
		storage.PartitionKind:  {Version: storage.Version, New: func() registration.Change { return new(storage.Partition) }},
		storage.TableKind:      {Version: storage.Version, New: func() registration.Change { return new(storage.Table) }},
		storage.FilesystemKind: {Version: storage.Version, New: func() registration.Change { return new(storage.Filesystem) }},
		storage.PhysicalKind:   {Version: storage.Version, New: func() registration.Change { return new(storage.PhysicalVolume) }},
		storage.SwapKind:       {Version: storage.Version, New: func() registration.Change { return new(storage.Swap) }},
		storage.SwapFileKind:   {Version: storage.Version, New: func() registration.Change { return new(storage.SwapFile) }},
		storage.StageFileKind:  {Version: storage.Version, New: func() registration.Change { return new(storage.StageFile) }},
	}
}
