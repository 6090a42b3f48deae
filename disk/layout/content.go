package layout

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Content is what a block device holds: one of the types that implement Spec.
type Content struct{ Spec }

// Spec is *GPT, *MBR, *Filesystem, *Btrfs, *Swap, *LUKS, *LVMPV, *MDRaid, *ZFS
// or *BcachefsMember.
type Spec interface {
	// ContentType is disko's name of the type: "gpt", "filesystem", ....
	ContentType() string
}

// ContentType implements Spec.
func (*GPT) ContentType() string            { return "gpt" }
func (*MBR) ContentType() string            { return "table" }
func (*Filesystem) ContentType() string     { return "filesystem" }
func (*Btrfs) ContentType() string          { return "btrfs" }
func (*Swap) ContentType() string           { return "swap" }
func (*LUKS) ContentType() string           { return "luks" }
func (*LVMPV) ContentType() string          { return "lvm_pv" }
func (*MDRaid) ContentType() string         { return "mdraid" }
func (*ZFS) ContentType() string            { return "zfs" }
func (*BcachefsMember) ContentType() string { return "bcachefs" }

// specs makes an empty one of each content type, by its name.
var specs = map[string]func() Spec{
	"gpt":        func() Spec { return new(GPT) },
	"table":      func() Spec { return new(MBR) },
	"filesystem": func() Spec { return new(Filesystem) },
	"btrfs":      func() Spec { return new(Btrfs) },
	"swap":       func() Spec { return new(Swap) },
	"luks":       func() Spec { return new(LUKS) },
	"lvm_pv":     func() Spec { return new(LVMPV) },
	"mdraid":     func() Spec { return new(MDRaid) },
	"zfs":        func() Spec { return new(ZFS) },
	"bcachefs":   func() Spec { return new(BcachefsMember) },
}

// MarshalJSON puts the type first: {"type":"filesystem","format":"ext4"}.
func (c Content) MarshalJSON() ([]byte, error) {
	body, err := json.Marshal(c.Spec)
	if err != nil || c.Spec == nil {
		return body, err
	}
	head := fmt.Sprintf(`{"type":%q`, c.ContentType())
	if len(body) > 2 {
		head += ","
	}
	return append([]byte(head), body[1:]...), nil
}

// UnmarshalJSON implements json.Unmarshaler. Unknown keys are errors.
func (c *Content) UnmarshalJSON(data []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	var name string
	if err := json.Unmarshal(fields["type"], &name); err != nil {
		return fmt.Errorf("content without a type: %w", err)
	}
	make, ok := specs[name]
	if !ok {
		return fmt.Errorf("unknown content type %q", name)
	}
	delete(fields, "type")
	rest, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	c.Spec = make()
	dec := json.NewDecoder(bytes.NewReader(rest))
	dec.DisallowUnknownFields()
	return dec.Decode(c.Spec)
}
