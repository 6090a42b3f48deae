package efi

import (
	"fmt"
	"io"
)

// Image is a PE image that has been read.
type Image struct {
	Machine  Machine
	Signed   bool
	Sections []Section // in the order of the section table
}

// Section is a part of an Image.
type Section struct {
	Name           string
	VirtualAddress uint32 // relative to the image base
	VirtualSize    uint32 // in memory
	Offset         int64  // in the file
	RawSize        uint32 // in the file, with padding
	Data           *io.SectionReader
}

// ReadUKI lists the sections of a unified kernel image. Their data stays in r.
func ReadUKI(r Source) (*Image, error) {
	p, err := parsePE(r)
	if err != nil {
		return nil, fmt.Errorf("read UKI: %w", err)
	}
	img := &Image{Machine: p.machine, Signed: p.signed()}
	for _, s := range p.sections {
		img.Sections = append(img.Sections, Section{
			Name: s.Name, VirtualAddress: s.VirtualPos, VirtualSize: s.VirtualSize,
			Offset: int64(s.RawPos), RawSize: s.RawSize, Data: p.data(s),
		})
	}
	if img.Section(".linux") == nil {
		return nil, fmt.Errorf("read UKI: image for %s has no section .linux", p.machine)
	}
	return img, nil
}

// Section returns the first section of that name, or nil.
func (i *Image) Section(name string) *Section {
	for k := range i.Sections {
		if i.Sections[k].Name == name {
			return &i.Sections[k]
		}
	}
	return nil
}
