package command

import (
	"context"
	"flag"

	"github.com/victorinix/vic/envscan"
)

func schemaVerb() Verb {
	return Verb{
		Name: "schema", Short: "Print the JSON Schema of the facts",
		Long:    "Every fact has a description, its unit, and privacy: identifying ones tell this\nmachine, its owner or its place from others.",
		Example: "vic-env schema\nvic-env schema | jq '.\"$defs\".Disk.properties.serial'",
		New: func(*flag.FlagSet) Run {
			return func(_ context.Context, s Streams, _ []string) error {
				_, err := s.Out.Write(envscan.JSONSchema())
				return err
			}
		},
	}
}
