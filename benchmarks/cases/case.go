package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// story is one case as its file has it.
type story struct {
	Title      string         `yaml:"title"`
	Why        string         `yaml:"why"`
	Kind       int            `yaml:"kind"`
	Catalog    any            `yaml:"catalog"` // name of a file in catalogs, or a whole catalog
	Patch      map[string]any `yaml:"patch"`
	Tables     any            `yaml:"tables"` // list of names, or what differs by name
	Partitions int32          `yaml:"partitions"`
	Settings   map[string]any `yaml:"settings"`
	Steps      []step         `yaml:"steps"`
	Expect     []expectation  `yaml:"expect"`

	name    string
	catalog map[string]any // read and patched
	tables  map[string]*table
}

// step is a change, or one of the others; exactly one is set.
type step struct {
	change []any // op, table, values, how
	other  struct {
		Wait     *float64      `yaml:"wait"` // seconds
		Settle   bool          `yaml:"settle"`
		Stop     bool          `yaml:"stop"`
		Start    bool          `yaml:"start"`
		Restart  bool          `yaml:"restart"`
		Register string        `yaml:"register"` // a table's name
		Schema   string        `yaml:"schema"`   // of register: the version
		Raw      *rawRecord    `yaml:"raw"`
		Expect   []expectation `yaml:"expect"`
	}
}

// rawRecord is a record of any bytes; key and value are hex, or absent.
type rawRecord struct {
	Table     string  `yaml:"table"`
	Partition int32   `yaml:"partition"`
	Key       *string `yaml:"key"`
	Value     *string `yaml:"value"`
}

// UnmarshalYAML takes a list as a change and a map as another step.
func (s *step) UnmarshalYAML(decode func(any) error) error {
	var node any
	if err := decode(&node); err != nil {
		return err
	}
	if list, ok := node.([]any); ok {
		s.change = list
		return nil
	}
	return decode(&s.other)
}

// expectation is what has to come true. Which fields may stand together says
// README.md; [expectation.check] refuses the rest.
type expectation struct {
	AnyOf    []expectation      `yaml:"any_of"`
	Query    string             `yaml:"query"`
	Rows     *[]map[string]any  `yaml:"rows"`
	RowsAny  [][]map[string]any `yaml:"rows_any"`
	Never    [][]map[string]any `yaml:"never"`
	Unsure   []string           `yaml:"unsure"`
	Command  []string           `yaml:"command"`
	Apply    bool               `yaml:"apply"` // give the command again with the hash of the plan that it shows
	Exit     any                `yaml:"exit"`  // a number, or a list of them
	Contains []string           `yaml:"contains"`
	Lacks    []string           `yaml:"lacks"`
	Log      []string           `yaml:"log"`
	Within   float64            `yaml:"within"` // seconds
}

// loadCase reads a case with its catalog and tables.
func loadCase(path string) (*story, error) {
	c := &story{name: caseName(path), Partitions: 1, tables: map[string]*table{}}
	if err := readYAML(path, c); err != nil {
		return nil, err
	}
	if len(c.Expect) == 0 && !slices.ContainsFunc(c.Steps, func(s step) bool { return len(s.other.Expect) > 0 }) {
		return nil, fmt.Errorf("%s expects nothing", path)
	}
	described, err := c.readCatalog(filepath.Join(filepath.Dir(path), "catalogs"))
	if err != nil {
		return nil, err
	}
	wanted := map[string]any{}
	switch t := c.Tables.(type) {
	case map[string]any:
		wanted = t
	case []any:
		for _, name := range t {
			wanted[fmt.Sprint(name)] = nil
		}
	}
	for name, differs := range wanted {
		spec, _ := described[name].(map[string]any)
		if d, ok := differs.(map[string]any); ok {
			spec = merge(spec, d)
		}
		if c.tables[name], err = newTable(name, spec); err != nil {
			return nil, fmt.Errorf("%s: table %s: %w", path, name, err)
		}
	}
	return c, nil
}

// readCatalog sets the catalog and returns how its tables look, by short name.
func (c *story) readCatalog(folder string) (described map[string]any, err error) {
	name, ok := c.Catalog.(string)
	if !ok {
		if c.catalog, ok = c.Catalog.(map[string]any); !ok {
			return nil, errors.New("catalog: neither the name of a file nor a catalog")
		}
		return nil, nil
	}
	path := filepath.Join(folder, name)
	if err := readYAML(path, &c.catalog); err != nil {
		return nil, err
	}
	if err := readYAML(strings.TrimSuffix(path, ".yaml")+".tables.yaml", &described); err != nil {
		return nil, err
	}
	list, _ := c.catalog["tables"].([]any)
	patches, _ := c.Patch["tables"].(map[string]any)
	for name, patch := range patches {
		spec, _ := described[name].(map[string]any)
		at := slices.IndexFunc(list, func(t any) bool {
			m, ok := t.(map[string]any)
			return ok && spec != nil && m["topic"] == spec["topic"]
		})
		if at < 0 {
			return nil, fmt.Errorf("patch: the catalog has no table %s", name)
		}
		p, ok := patch.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("patch: table %s: not a map", name)
		}
		list[at] = merge(list[at].(map[string]any), p)
	}
	rest := maps.Clone(c.Patch)
	delete(rest, "tables")
	c.catalog = merge(c.catalog, rest)
	return described, nil
}

// merge lays b over a; a null takes a name away.
func merge(a, b map[string]any) map[string]any {
	out := map[string]any{}
	maps.Copy(out, a)
	for k, v := range b {
		below, isMap := out[k].(map[string]any)
		over, laid := v.(map[string]any)
		switch {
		case v == nil:
			delete(out, k)
		case isMap && laid:
			out[k] = merge(below, over)
		default:
			out[k] = v
		}
	}
	return out
}

func readYAML(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.DisallowUnknownField()).Decode(into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
