// Package avsc keeps the definitions of canonical fields: the Avro schemas of the
// canonical topics, of letters and of feeds, one file per record, and in shape
// what a catalog maps to, one file per entity. Package define says how they are
// read and what follows from them.
package avsc

import (
	"embed"
	"fmt"
	"io/fs"
)

//go:embed *.avsc shape/*.avsc
var files embed.FS

// Files are the definitions, as package define reads them.
func Files() fs.FS { return files }

// Text returns the schema of the named record (account, letter, …), as it is
// registered.
func Text(name string) (string, error) {
	b, err := files.ReadFile(name + ".avsc")
	if err != nil {
		return "", fmt.Errorf("reading schema of %q: there is no such record in schemas/avsc: %w", name, err)
	}
	return string(b), nil
}
