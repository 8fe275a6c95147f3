// Package avsc keeps the Avro schemas of the canonical topics, of letters and
// of feeds, one file per record.
package avsc

import (
	"embed"
	"fmt"
)

//go:embed *.avsc
var files embed.FS

// Text returns the schema of the named record (account, identity_link, product,
// opportunity, order, subscription, invoice, payment, deal, letter, feed), as
// it is registered.
func Text(name string) (string, error) {
	b, err := files.ReadFile(name + ".avsc")
	if err != nil {
		return "", fmt.Errorf("reading schema of %q: there is no such record in schemas/avsc: %w", name, err)
	}
	return string(b), nil
}
