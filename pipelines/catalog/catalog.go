// Package catalog declares what is mapped to what: systems, their tables and
// topics, how rows become canonical entities, who owns what. A catalog is one
// YAML file; nothing in Go knows the systems that it names.
package catalog

import "github.com/goccy/go-yaml/ast"

// Catalog is one company's declaration.
type Catalog struct {
	// Name of the catalog, for messages.
	Name string `yaml:"catalog" json:"catalog" jsonschema:"required"`
	// Version of its content, raised by its authors.
	Version int `yaml:"version" json:"version" jsonschema:"required,minimum=1"`
	// Systems by name. The name is the first part of every key and the system column of every view.
	Systems map[string]System `yaml:"systems" json:"systems" jsonschema:"required"`
	// Identity says how a customer of one system names the same customer of the master system.
	Identity Identity `yaml:"identity" json:"identity" jsonschema:"required"`
	// Owners of field groups: exactly one system owns a group.
	Owners []Owner `yaml:"owners" json:"owners" jsonschema:"required"`
	// Tables that are captured and mapped.
	Tables []Table `yaml:"tables" json:"tables" jsonschema:"required"`

	file string
	tree *ast.File
}

// System is one instance of a source system.
type System struct {
	// Instance names the database instance in canonical ids: two instances of one kind of system have two names. It never changes.
	Instance string `yaml:"instance" json:"instance" jsonschema:"required"`
	// Role of the system: crm, subs or erp.
	Role string `yaml:"role" json:"role" jsonschema:"required,enum=crm,enum=subs,enum=erp"`
	// Steward is the human role that answers for the data.
	Steward string `yaml:"steward" json:"steward" jsonschema:"required"`
	// Changed lists the columns that tell when a snapshot row was last changed, the first not NULL counts.
	Changed []TimeColumn `yaml:"changed" json:"changed,omitempty"`
	// Maps are named value maps for the tables of this system.
	Maps map[string]map[string]string `yaml:"maps" json:"maps,omitempty"`
	// Placeholder that the connector sends for a value it was not given, where it is configured (unavailable.value.placeholder); the usual one is always known.
	Placeholder string `yaml:"placeholder" json:"placeholder,omitempty"`
	// Rounding of what the system sells; absent: each line, half to even.
	Rounding *Rounding `yaml:"rounding" json:"rounding,omitempty"`
	// Epochs: a restore of the database to an earlier state begins a new one.
	Epochs []Epoch `yaml:"epochs" json:"epochs,omitempty"`
}

// Rounding says how a system rounds amounts to the minor units of their currency.
type Rounding struct {
	// Mode: half_even (a half goes to the even neighbour) or half_up (away from zero).
	Mode string `yaml:"mode" json:"mode,omitempty" jsonschema:"enum=half_even,enum=half_up"`
	// Per: line (each is rounded, then summed) or document (only the sum is rounded).
	Per string `yaml:"per" json:"per,omitempty" jsonschema:"enum=line,enum=document"`
}

// Epoch says that the database was restored: changes committed at or after Since sort after all earlier ones.
type Epoch struct {
	// Epoch number, rising from 1.
	Epoch uint32 `yaml:"epoch" json:"epoch" jsonschema:"required,minimum=1"`
	// Since is the time of the first commit after the restore, RFC 3339.
	Since string `yaml:"since" json:"since" jsonschema:"required,format=date-time"`
}

// Identity is the rule by which parties of different systems are one customer.
type Identity struct {
	// Master is the system whose customers are the accounts.
	Master string `yaml:"master" json:"master" jsonschema:"required"`
	// Reference is a regular expression (RE2) of identifiers that name a master customer; its one group is that customer's native id.
	Reference string `yaml:"reference" json:"reference" jsonschema:"required"`
	// Normalise says how what an identifier names and a master customer's own native id are made alike before they are compared.
	Normalise Normalise `yaml:"normalise" json:"normalise,omitzero"`
}

// Normalise makes different spellings of one native id alike, on both sides. Without it blanks around an identifier do not count, nor does the case of what stands around the id.
type Normalise struct {
	// Blanks around an identifier or id: ignore (the default) or keep.
	Blanks string `yaml:"blanks" json:"blanks,omitempty" jsonschema:"enum=ignore,enum=keep"`
	// Case of ASCII letters: ids (the default) compares it in ids only, exact everywhere, ignore nowhere.
	Case string `yaml:"case" json:"case,omitempty" jsonschema:"enum=ids,enum=exact,enum=ignore"`
	// Prefix that some write before the id and others do not: it is taken away.
	Prefix string `yaml:"prefix" json:"prefix,omitempty"`
	// Pad is the one character with which some fill ids up from the left, usually 0: it is taken away.
	Pad string `yaml:"pad" json:"pad,omitempty"`
}

// Owner says which system owns a group of fields of a canonical entity.
type Owner struct {
	Entity string `yaml:"entity" json:"entity" jsonschema:"required"`
	// Group of fields, named by what they are to the business.
	Group string `yaml:"group" json:"group" jsonschema:"required"`
	// System that owns it.
	System string `yaml:"system" json:"system" jsonschema:"required"`
}

// Table is one captured table and its mapping onto the header or a part of a canonical entity.
type Table struct {
	// Topic of its changes.
	Topic string `yaml:"topic" json:"topic" jsonschema:"required"`
	// System it belongs to.
	System string `yaml:"system" json:"system" jsonschema:"required"`
	// Entity it is mapped onto: party, opportunity, order, subscription, invoice, entry, product or reference.
	Entity string `yaml:"entity" json:"entity" jsonschema:"required"`
	// Part of the entity whose rows these are (line, tax, payment, identifier, address, contact); absent for the header.
	Part string `yaml:"part" json:"part,omitempty"`
	// Key columns; the native id is their values, joined by a slash (where a value holds one itself, each has its length before it).
	Key []string `yaml:"key" json:"key" jsonschema:"required"`
	// Prefix is put before the native id where two tables of a system are mapped onto one entity.
	Prefix string `yaml:"prefix" json:"prefix,omitempty"`
	// Deletes says how the feed tells that a row is gone: change (the default, an event with op d) or tombstone, where the connector drops those and leaves only the record without a value.
	Deletes string `yaml:"deletes" json:"deletes,omitempty" jsonschema:"enum=change,enum=tombstone"`
	// Parent is the column with the native id of the document; parts only.
	Parent string `yaml:"parent" json:"parent,omitempty"`
	// Party is the mapping of the customer; headers only.
	Party *Mapping `yaml:"party" json:"party,omitempty"`
	// Changed overrides the system's.
	Changed []TimeColumn `yaml:"changed" json:"changed,omitempty"`
	// Gone lists mapped columns that the source no longer has, and that is as it should be: known values stay, new rows have none.
	Gone []string `yaml:"gone" json:"gone,omitempty"`
	// Fields by name of the canonical shape.
	Fields map[string]Mapping `yaml:"fields" json:"fields,omitempty"`
	// Milestones: created, won, lost, activated, invoiced.
	Milestones map[string]Milestone `yaml:"milestones" json:"milestones,omitempty"`
}

// Milestone says which image shows a business time first.
type Milestone struct {
	// Phases: any of these; absent: every image.
	Phases []string `yaml:"phases" json:"phases,omitempty"`
	// Snapshot lists the columns that give the time on a snapshot row, the first not NULL counts.
	Snapshot []TimeColumn `yaml:"snapshot" json:"snapshot,omitempty"`
}

// TimeColumn is a column that tells a time. In YAML a plain text is its name.
type TimeColumn struct {
	// Time: a column of numbers that count from 1970-01-01 UTC on.
	Time Time `yaml:"time" json:"time" jsonschema:"required"`
}

// Time is a column of a time, and what its numbers count.
type Time struct {
	// Path of the column.
	Path string `yaml:"path" json:"path" jsonschema:"required"`
	// Unit: s, ms, us or ns.
	Unit string `yaml:"unit" json:"unit,omitempty" jsonschema:"required,enum=s,enum=ms,enum=us,enum=ns"`
}

// Mapping is one of seven functions of a row's columns. In YAML a plain text is a path.
type Mapping struct {
	// Path: the column itself.
	Path string `yaml:"path" json:"path,omitempty"`
	// Constant: the same for every row.
	Constant *string `yaml:"constant" json:"constant,omitempty"`
	// Ref: the native id of another row.
	Ref *Ref `yaml:"ref" json:"ref,omitempty"`
	// Map: the column's value looked up; a value that is not there is a letter.
	Map *ValueMap `yaml:"map" json:"map,omitempty"`
	// Time: the column's number counts from 1970-01-01 UTC on.
	Time *Time `yaml:"time" json:"time,omitempty"`
	// SumLines: no column has it, it is the sum of the lines.
	SumLines bool `yaml:"sum_lines" json:"sum_lines,omitempty"`
	// Coalesce: the first column that is not NULL.
	Coalesce []string `yaml:"coalesce" json:"coalesce,omitempty"`
	// Default where the writer's schema does not have the column; equals the newest schema's default.
	Default *string `yaml:"default" json:"default,omitempty"`
}

// Ref names another row.
type Ref struct {
	// Path of the column that holds it.
	Path string `yaml:"path" json:"path" jsonschema:"required"`
	// Model: the column holds "model,id", and only this model counts.
	Model string `yaml:"model" json:"model,omitempty"`
	// Prefix of the other table (see Table.Prefix).
	Prefix string `yaml:"prefix" json:"prefix,omitempty"`
}

// ValueMap looks a value up.
type ValueMap struct {
	// Path of the column.
	Path string `yaml:"path" json:"path" jsonschema:"required"`
	// Values by the column's text.
	Values map[string]string `yaml:"values" json:"values,omitempty"`
	// Use a named map of the system instead.
	Use string `yaml:"use" json:"use,omitempty"`
}

// UnmarshalYAML takes a plain text as a path.
func (m *Mapping) UnmarshalYAML(unmarshal func(any) error) error {
	var path string
	if err := unmarshal(&path); err == nil {
		*m = Mapping{Path: path}
		return nil
	}
	type plain Mapping
	return unmarshal((*plain)(m))
}

// UnmarshalYAML takes a plain text as the column's name.
func (c *TimeColumn) UnmarshalYAML(unmarshal func(any) error) error {
	var path string
	if err := unmarshal(&path); err == nil {
		*c = TimeColumn{Time: Time{Path: path}}
		return nil
	}
	type plain TimeColumn
	return unmarshal((*plain)(c))
}
