package catalog

import (
	"embed"
	"errors"
	"io/fs"
	"strings"
)

//go:embed *.yaml
var builtin embed.FS

// Builtin lists the catalogs that come with the program.
func Builtin() []string {
	var names []string
	entries, _ := fs.ReadDir(builtin, ".") // an embedded root can always be read
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// Load opens a catalog by the name of a built-in one, or else as a file.
func Load(name string) (*Catalog, error) {
	text, err := builtin.ReadFile(name + ".yaml")
	if errors.Is(err, fs.ErrNotExist) || strings.ContainsAny(name, "/\\.") {
		return Open(name)
	}
	if err != nil {
		return nil, err
	}
	return Parse(name+".yaml", text)
}

//go:embed catalog.schema.json
var schema string

// Schema is the JSON Schema of catalog files, for editors.
func Schema() string { return schema }
