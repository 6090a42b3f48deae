package envscan

import _ "embed"

// schemaJSON is made from the types and their comments: go test ./envscan -run
// TestSchema -update.
//
//go:embed schema.json
var schemaJSON []byte

// JSONSchema is the JSON Schema (draft 2020-12) of the document. Beyond the
// standard's words a fact has unit, and privacy: identifying or secret.
func JSONSchema() []byte { return schemaJSON }
