package catalog

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"syncline/processors/intake"
	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// topicPattern is what Kafka accepts as a topic's name.
const topicPattern = `^[a-zA-Z0-9._-]{1,249}$`

// The words of a table's deletes.
const (
	byChange    = "change"
	byTombstone = "tombstone"
)

// documents are the entities that belong to a customer by a column of their own.
var documents = []string{canonical.Opportunity, canonical.Order, canonical.Subscription, canonical.Invoice}

func (l *linter) topics() {
	legal := regexp.MustCompile(topicPattern)
	first := map[string]bool{}
	for i := range l.c.Tables {
		topic, path := l.c.Tables[i].Topic, fmt.Sprintf("$.tables[%d]", i)
		switch {
		case topic == "":
			l.add(path, "name the topic of its changes", "topic is missing")
		case !legal.MatchString(topic) || topic == "." || topic == "..":
			l.add(path+".topic", "use at most 249 letters, digits, ., _ and -", "Kafka has no topic %q", topic)
		case first[topic]:
			l.add(path+".topic", "map a topic once", "topic %s is mapped twice", topic)
		}
		first[topic] = true
	}
}

// Owned are the tables whose topic the pipelines write themselves, by owns: they
// would read their own results.
func (c *Catalog) Owned(owns func(topic string) bool) Problems {
	l := &linter{c: c, tree: c.tree}
	for i := range c.Tables {
		if topic := c.Tables[i].Topic; owns(topic) {
			l.add(fmt.Sprintf("$.tables[%d].topic", i), "name a topic of changes, or take another --prefix", "the pipelines write %s themselves", topic)
		}
	}
	return l.problems
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

func (l *linter) table(i int) {
	t, path := &l.c.Tables[i], fmt.Sprintf("$.tables[%d]", i)
	sys, ok := l.c.Systems[t.System]
	if !ok {
		l.add(path+".system", "name one of systems", "no system %q", t.System)
	}
	if len(t.Key) == 0 {
		l.add(path, "list the columns of its primary key", "key is missing")
	}
	if !slices.Contains([]string{"", byChange, byTombstone}, t.Deletes) {
		l.add(path+".deletes", "use change or tombstone", "no way %q of telling deletes", t.Deletes)
	}
	l.columns(path+".key", t.Key)
	l.times(path+".changed", t.Changed)
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
	switch isDocument := slices.Contains(documents, t.Entity); {
	case t.Party != nil && t.Part != "":
		l.add(path+".party", "map it on the header's table", "only a header has a party")
	case t.Party != nil && !isDocument:
		l.add(path+".party", "remove it", "%s has no party", t.Entity)
	case t.Party == nil && t.Part == "" && isDocument:
		l.add(path, "map the customer's column: without it no account has the "+t.Entity, "party is missing")
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
		if words := shape.Fields[n].Words; words != nil {
			l.words(path+".fields."+name, t.Fields[name], words, entity.Name+" has no "+name, sys)
		}
	}
	for _, f := range shape.Fields {
		if _, ok := t.Fields[f.Name]; !ok && f.Need {
			l.add(path+".fields", "map it", "field %s of %s is needed and not mapped", f.Name, t.Entity)
		}
	}
	l.milestones(path, t, entity)
	if len(t.Gone) > 0 && len(l.problems) == 0 {
		if s, err := l.c.source(t); err == nil {
			l.gone(path, t, s)
		}
	}
}

func (l *linter) mapping(path string, m Mapping, f canonical.FieldSpec, sys System) {
	used := 0
	for _, is := range []bool{m.Path != "", m.Constant != nil, m.Ref != nil, m.Map != nil, m.Time != nil, m.SumLines, len(m.Coalesce) > 0} {
		if is {
			used++
		}
	}
	if used != 1 {
		l.add(path, "use exactly one of path, constant, ref, map, time, sum_lines, coalesce", "%d mapping functions", used)
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
	if m.Time != nil {
		l.timeOf(path, *m.Time, true)
		if f.Kind != change.Date && f.Kind != change.Timestamp {
			l.add(path, "use path", "time gives a date, the field is a %s", f.Kind)
		}
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

func (l *linter) words(path string, m Mapping, words []string, not string, sys System) {
	fix := "use one of " + strings.Join(words, ", ")
	switch {
	case m.Constant != nil:
		if !slices.Contains(words, *m.Constant) {
			l.add(path, fix, "%s %q", not, *m.Constant)
		}
	case m.Map != nil:
		values := m.Map.Values
		if m.Map.Use != "" {
			values = sys.Maps[m.Map.Use]
		}
		for _, from := range slices.Sorted(maps.Keys(values)) {
			if !slices.Contains(words, values[from]) {
				l.add(path, fix, "%s %q", not, values[from])
			}
		}
	case m.Path != "" || len(m.Coalesce) > 0 || m.Ref != nil:
		l.add(path, "map it to one of "+strings.Join(words, ", "), "a column's own words mean nothing here")
	}
}

// milestoneOf says which entities' headers show a milestone; created is shown by
// every row.
var milestoneOf = map[string]string{
	"won": canonical.Opportunity, "lost": canonical.Opportunity, "activated": canonical.Subscription, "invoiced": canonical.Invoice,
}

func (l *linter) milestones(path string, t *Table, entity canonical.Entity) {
	for _, name := range slices.Sorted(maps.Keys(t.Milestones)) {
		at, m := path+".milestones."+name, t.Milestones[name]
		of, hasPhases := milestoneOf[name]
		switch {
		case !slices.Contains(change.MilestoneNames[:], name):
			l.add(at, "use one of "+strings.Join(change.MilestoneNames[:], ", "), "no milestone %q", name)
			continue
		case hasPhases && (t.Part != "" || t.Entity != of):
			l.add(at, "put it on the header of "+of, "only the header of %s is %s", of, name)
		case hasPhases && len(m.Phases) == 0:
			l.add(at, "list phases of "+of, "without phases every image shows it")
		case !hasPhases && len(m.Phases) > 0:
			l.add(at, "remove phases", "a row is created in whatever phase")
		}
		for _, p := range m.Phases {
			if !slices.Contains(entity.Phases, p) {
				l.add(at, "use one of "+strings.Join(entity.Phases, ", "), "%s has no phase %q", entity.Name, p)
			}
		}
		l.times(at+".snapshot", m.Snapshot)
	}
}

func (l *linter) columns(path string, names []string) {
	for i, n := range names {
		if n == "" {
			l.add(fmt.Sprintf("%s[%d]", path, i), "name the column", "empty column name")
		}
	}
}

// times: each column has a name, and one that counts says what.
func (l *linter) times(path string, list []TimeColumn) {
	for i, c := range list {
		l.timeOf(fmt.Sprintf("%s[%d]", path, i), c.Time, false)
	}
}

func (l *linter) timeOf(path string, t Time, counts bool) {
	_, known := units[t.Unit]
	switch {
	case t.Path == "":
		l.add(path, "name the column", "empty column name")
	case t.Unit == "" && counts:
		l.add(path, "add unit: s, ms, us or ns, or use path", "time does not say what its numbers count")
	case t.Unit != "" && !known:
		l.add(path, "use s, ms, us or ns", "no unit %q", t.Unit)
	}
}

// gone: only what is mapped can be missed.
func (l *linter) gone(path string, t *Table, s *intake.Source) {
	for i, c := range t.Gone {
		at := fmt.Sprintf("%s.gone[%d]", path, i)
		switch {
		case slices.Contains(t.Key, c):
			l.add(at, "map the columns of the new key", "without its key column %q no row can be told", c)
		case s.Column(c) < 0:
			l.add(at, "remove it", "no mapping uses column %q", c)
		}
	}
}

// parents: a part needs its header's table in the same system.
func (l *linter) parents() {
	for i := range l.c.Tables {
		if t := &l.c.Tables[i]; t.Part != "" && !l.maps(t.System, t.Entity, "") {
			l.add(fmt.Sprintf("$.tables[%d]", i), "map the header's table too", "system %s has no table for the header of %s", t.System, t.Entity)
		}
	}
}

// prefixes: of two tables with the rows of one header or part, no id of the one
// may be an id of the other. Where one of them has no prefix, its rows are held
// against the other's as they come. Of each table the first clash is told.
func (l *linter) prefixes() {
	type rows struct{ system, entity, part string }
	before := map[rows][]string{}
	for i := range l.c.Tables {
		t := &l.c.Tables[i]
		of := rows{t.System, t.Entity, t.Part}
		clash := slices.IndexFunc(before[of], func(other string) bool {
			return other == t.Prefix || other != "" && t.Prefix != "" && (strings.HasPrefix(t.Prefix, other) || strings.HasPrefix(other, t.Prefix))
		})
		path, what := fmt.Sprintf("$.tables[%d]", i), "header"
		if t.Part != "" {
			what = t.Part
		}
		switch {
		case clash < 0:
			before[of] = append(before[of], t.Prefix)
		case before[of][clash] == t.Prefix:
			l.add(path, "give one of them a prefix", "two tables of %s are the %s of %s: their ids would be confused", t.System, what, t.Entity)
		default:
			l.add(path+".prefix", "end each with a sign that the other does not have there", "the prefixes %q and %q begin alike: ids would be confused", before[of][clash], t.Prefix)
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
		if !f.Retired {
			names = append(names, f.Name)
		}
	}
	return strings.Join(names, ", ")
}
