// Package recorded carries the recorded change feeds of a real ERP, CRM and
// subscription system behind Debezium, so that a binary runs alone. The README
// in each folder says how it was made and what is in it.
package recorded

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

//go:embed debezium-tryton debezium-tryton-2
var files embed.FS

// Names lists the recordings.
func Names() []string { return []string{"debezium-tryton", "debezium-tryton-2"} }

// Extract writes the named recording below dir and returns its folder.
func Extract(name, dir string) (string, error) {
	to := filepath.Join(dir, name)
	if err := os.MkdirAll(to, 0o755); err != nil {
		return "", fmt.Errorf("making the folder of recording %s: %w", name, err)
	}
	entries, err := fs.ReadDir(files, name)
	if err != nil {
		return "", fmt.Errorf("no recording %q; there are %s: %w", name, strings.Join(Names(), ", "), err)
	}
	for _, e := range entries {
		b, err := files.ReadFile(name + "/" + e.Name())
		if err != nil {
			return "", fmt.Errorf("reading recording %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(to, e.Name()), b, 0o644); err != nil { //nolint:gosec // public data
			return "", fmt.Errorf("writing recording %s: %w", name, err)
		}
	}
	return to, nil
}
