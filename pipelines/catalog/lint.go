package catalog

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// Problem is one mistake in a catalog, with its place.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Path    string `json:"path"`
	Message string `json:"message"`
	Fix     string `json:"fix"`
}

// Error gives "file:line:column: path: message; fix".
func (p Problem) Error() string {
	s := fmt.Sprintf("%s:%d:%d: ", p.File, p.Line, p.Column)
	if p.Path != "" {
		s += p.Path + ": "
	}
	s += p.Message
	if p.Fix != "" {
		s += "; " + p.Fix
	}
	return s
}

// Problems is an error made of all mistakes found.
type Problems []Problem

// Error lists them, a line each.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].Error()
	}
	return strings.Join(lines, "\n")
}

// linter collects problems of one catalog.
type linter struct {
	c        *Catalog
	tree     *ast.File
	problems Problems
}

// maxProblems bounds one run: whoever has more begins at the top.
const maxProblems = 200

// Lint checks what the type of the file cannot: names that must exist, one owner
// per field group, one mapping function per field, fields that must be mapped.
func (c *Catalog) Lint() Problems {
	l := &linter{c: c, tree: c.tree}
	l.systems()
	l.identity()
	l.owners()
	for i := range c.Tables {
		l.table(i)
	}
	l.parents()
	l.references()
	l.unusedMaps()
	slices.SortStableFunc(l.problems, func(a, b Problem) int { return a.Line - b.Line })
	return l.problems
}

func (l *linter) add(path, fix, format string, args ...any) {
	if len(l.problems) >= maxProblems {
		return
	}
	p := Problem{File: l.c.file, Line: 1, Column: 1, Path: strings.TrimPrefix(path, "$."), Message: fmt.Sprintf(format, args...), Fix: fix}
	p.Line, p.Column = l.place(path)
	l.problems = append(l.problems, p)
}

// place finds the line of a path, or of the nearest ancestor that is there.
func (l *linter) place(path string) (line, column int) {
	for l.tree != nil && path != "$" && path != "" {
		if p, err := yaml.PathString(path); err == nil {
			if node, err := p.FilterFile(l.tree); err == nil && node != nil && node.GetToken() != nil {
				pos := node.GetToken().Position
				return pos.Line, pos.Column
			}
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			break
		}
		path = path[:cut]
	}
	return 1, 1
}

func (l *linter) systems() {
	instances := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(l.c.Systems)) {
		s, path := l.c.Systems[name], "$.systems."+name
		if !slices.Contains([]string{"crm", "subs", "erp"}, s.Role) {
			l.add(path+".role", "use crm, subs or erp", "no role %q", s.Role)
		}
		if s.Instance == "" {
			l.add(path, "name the database instance; it becomes part of every canonical id", "instance is missing")
		} else if other, ok := instances[s.Instance]; ok {
			l.add(path+".instance", "give each instance a name of its own", "instance %q is also that of system %s", s.Instance, other)
		}
		instances[s.Instance] = name
		if s.Steward == "" {
			l.add(path, "name the human role that answers for this system's data", "steward is missing")
		}
		last := uint32(0)
		for i, e := range s.Epochs {
			if e.Epoch <= last {
				l.add(fmt.Sprintf("%s.epochs[%d]", path, i), "number epochs upwards from 1", "epoch %d does not rise", e.Epoch)
			}
			last = e.Epoch
			if _, err := time.Parse(time.RFC3339Nano, e.Since); err != nil {
				l.add(fmt.Sprintf("%s.epochs[%d].since", path, i), "write it as 2026-11-22T21:30:00Z", "%q is no time", e.Since)
			}
		}
	}
}

func (l *linter) identity() {
	id := l.c.Identity
	if _, ok := l.c.Systems[id.Master]; !ok {
		l.add("$.identity.master", "name one of systems", "no system %q", id.Master)
	}
	if !l.maps(id.Master, canonical.Party, "") {
		l.add("$.identity.master", "map its customers, without a prefix", "system %s has no table for party", id.Master)
	}
	re, err := regexp.Compile(id.Reference)
	switch {
	case err != nil:
		l.add("$.identity.reference", "write an RE2 expression", "%v", err)
	case re.NumSubexp() != 1:
		l.add("$.identity.reference", "put the native id, and nothing else, in parentheses", "the expression has %d groups, it needs one", re.NumSubexp())
	case !strings.HasPrefix(id.Reference, "^") || !strings.HasSuffix(id.Reference, "$"):
		l.add("$.identity.reference", "begin it with ^ and end it with $", "the expression must match the whole identifier")
	}
}

// references: a mapping that names another row needs that row's table.
func (l *linter) references() {
	for i := range l.c.Tables {
		t := &l.c.Tables[i]
		entity, _ := entityNamed(t.Entity)
		shape, ok := entity.Shape(t.Part)
		if !ok {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(t.Fields)) {
			m, n := t.Fields[name], shape.Index(name)
			if n < 0 || m.Ref == nil || shape.Fields[n].Ref == "" {
				continue
			}
			target := shape.Fields[n].Ref
			if !l.maps(t.System, target, m.Ref.Prefix) {
				l.add(fmt.Sprintf("$.tables[%d].fields.%s", i, name), "map its table, or correct the prefix", "system %s has no table for %s with prefix %q", t.System, target, m.Ref.Prefix)
			}
		}
	}
}

// maps tells whether a table of the system is the header of an entity.
func (l *linter) maps(system, entity, prefix string) bool {
	return slices.ContainsFunc(l.c.Tables, func(t Table) bool {
		return t.System == system && t.Entity == entity && t.Part == "" && t.Prefix == prefix
	})
}

// unusedMaps: a named map that nothing uses is a map that somebody believes in.
// One that several systems share need be used by one of them only.
func (l *linter) unusedMaps() {
	used := map[string]bool{}
	for i := range l.c.Tables {
		for _, m := range l.c.Tables[i].Fields {
			if m.Map != nil {
				used[m.Map.Use] = true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.c.Systems)) {
		for _, m := range slices.Sorted(maps.Keys(l.c.Systems[name].Maps)) {
			if !used[m] {
				l.add("$.systems."+name+".maps."+m, "use it or remove it", "no mapping uses the map %q", m)
			}
		}
	}
}

// joinedEntities are made from others, so no table is mapped onto them.
var joinedEntities = []string{"account", "payment"}

func (l *linter) owners() {
	owned := map[string]string{}
	for i, o := range l.c.Owners {
		path := fmt.Sprintf("$.owners[%d]", i)
		if _, ok := l.c.Systems[o.System]; !ok {
			l.add(path+".system", "name one of systems", "no system %q", o.System)
		}
		if _, ok := entityNamed(o.Entity); !ok && !slices.Contains(joinedEntities, o.Entity) {
			l.add(path+".entity", "use account, payment or one of "+entityNames(), "no canonical entity %q", o.Entity)
		}
		key := o.Entity + "." + o.Group
		if other, ok := owned[key]; ok {
			l.add(path, "decide which system is the system of record", "%s is owned by %s and by %s", key, other, o.System)
		}
		owned[key] = o.System
	}
}

func (l *linter) table(i int) {
	t, path := &l.c.Tables[i], fmt.Sprintf("$.tables[%d]", i)
	sys, ok := l.c.Systems[t.System]
	if !ok {
		l.add(path+".system", "name one of systems", "no system %q", t.System)
	}
	if t.Topic == "" {
		l.add(path, "name the topic of its changes", "topic is missing")
	}
	for j := range l.c.Tables[:i] {
		if l.c.Tables[j].Topic == t.Topic {
			l.add(path+".topic", "map a topic once", "topic %s is mapped twice", t.Topic)
		}
	}
	if len(t.Key) == 0 {
		l.add(path, "list the columns of its primary key", "key is missing")
	}
	entity, ok := entityNamed(t.Entity)
	if !ok {
		l.add(path+".entity", "use one of "+entityNames(), "no canonical entity %q", t.Entity)
		return
	}
	shape, ok := entity.Shape(t.Part)
	if !ok {
		l.add(path+".part", "use one of "+partNames(entity), "%s has no part %q", t.Entity, t.Part)
		return
	}
	switch {
	case t.Part != "" && t.Parent == "":
		l.add(path, "name the column with the id of the "+t.Entity, "parent is missing")
	case t.Part == "" && t.Parent != "":
		l.add(path+".parent", "add the part, or remove it", "a header has no parent")
	}
	if t.Party != nil && t.Part != "" {
		l.add(path+".party", "map it on the header's table", "only a header has a party")
	}
	if t.Party != nil {
		l.mapping(path+".party", *t.Party, canonical.FieldSpec{Kind: change.String}, sys)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Fields)) {
		n := shape.Index(name)
		if n < 0 {
			l.add(path+".fields."+name, "use one of "+fieldNames(shape), "%s has no field %q", strings.TrimSpace(t.Entity+" "+t.Part), name)
			continue
		}
		l.mapping(path+".fields."+name, t.Fields[name], shape.Fields[n], sys)
		if name == "phase" && t.Fields[name].Map != nil {
			l.phases(path+".fields.phase", t.Fields[name].Map, entity, sys)
		}
	}
	for _, f := range shape.Fields {
		if _, ok := t.Fields[f.Name]; !ok && f.Need {
			l.add(path+".fields", "map it", "field %s of %s is needed and not mapped", f.Name, t.Entity)
		}
	}
	l.milestones(path, t, entity)
}

func (l *linter) mapping(path string, m Mapping, f canonical.FieldSpec, sys System) {
	used := 0
	for _, is := range []bool{m.Path != "", m.Constant != nil, m.Ref != nil, m.Map != nil, m.SumLines, len(m.Coalesce) > 0} {
		if is {
			used++
		}
	}
	if used != 1 {
		l.add(path, "use exactly one of path, constant, ref, map, sum_lines, coalesce", "%d mapping functions", used)
		return
	}
	if slices.Contains(m.Coalesce, "") {
		l.add(path, "name the column", "empty column name in coalesce")
	}
	if m.SumLines && f.Kind != change.Decimal {
		l.add(path, "sum lines into a money field", "sum_lines gives a number, the field is a %s", f.Kind)
	}
	if m.Ref != nil && f.Kind != change.String {
		l.add(path, "use path", "ref gives a native id, the field is a %s", f.Kind)
	}
	if m.Ref != nil && m.Ref.Path == "" || m.Map != nil && m.Map.Path == "" {
		l.add(path, "name the column", "path is missing")
	}
	if m.Map != nil {
		_, named := sys.Maps[m.Map.Use]
		switch {
		case m.Map.Use != "" && !named:
			l.add(path+".map.use", "declare it under the system's maps", "the system has no map %q", m.Map.Use)
		case m.Map.Use == "" && len(m.Map.Values) == 0 || m.Map.Use != "" && len(m.Map.Values) > 0:
			l.add(path, "give either values or use", "a map has its values here or uses a named one")
		}
	}
	if _, err := m.field(f.Kind, sys.Maps); err != nil {
		l.add(path, "write it in the field's kind", "%v", err)
	}
}

func (l *linter) phases(path string, m *ValueMap, entity canonical.Entity, sys System) {
	values := m.Values
	if m.Use != "" {
		values = sys.Maps[m.Use]
	}
	for _, from := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(entity.Phases, values[from]) {
			l.add(path, "use one of "+strings.Join(entity.Phases, ", "), "%s has no phase %q", entity.Name, values[from])
		}
	}
}

func (l *linter) milestones(path string, t *Table, entity canonical.Entity) {
	for _, name := range slices.Sorted(maps.Keys(t.Milestones)) {
		at := path + ".milestones." + name
		if !slices.Contains(change.MilestoneNames[:], name) {
			l.add(at, "use one of "+strings.Join(change.MilestoneNames[:], ", "), "no milestone %q", name)
		}
		for _, p := range t.Milestones[name].Phases {
			if !slices.Contains(entity.Phases, p) {
				l.add(at, "use one of "+strings.Join(entity.Phases, ", "), "%s has no phase %q", entity.Name, p)
			}
		}
	}
}

// parents: a part needs its header's table in the same system.
func (l *linter) parents() {
	headers := map[string]bool{}
	for i := range l.c.Tables {
		if t := &l.c.Tables[i]; t.Part == "" {
			key := t.System + " " + t.Entity + " " + t.Prefix
			if headers[key] {
				l.add(fmt.Sprintf("$.tables[%d]", i), "give one of them a prefix", "two tables of %s are the header of %s: their ids would be confused", t.System, t.Entity)
			}
			headers[key] = true
		}
	}
	for i := range l.c.Tables {
		if t := &l.c.Tables[i]; t.Part != "" && !headers[t.System+" "+t.Entity+" "] {
			l.add(fmt.Sprintf("$.tables[%d]", i), "map the header's table too", "system %s has no table for the header of %s", t.System, t.Entity)
		}
	}
}

func entityNames() string {
	var names []string
	for _, e := range canonical.Entities() {
		names = append(names, e.Name)
	}
	return strings.Join(names, ", ")
}

func partNames(e canonical.Entity) string {
	names := []string{"none (the header)"}
	for _, p := range e.Parts {
		names = append(names, p.Part)
	}
	return strings.Join(names, ", ")
}

func fieldNames(s canonical.Shape) string {
	var names []string
	for _, f := range s.Fields {
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
}
