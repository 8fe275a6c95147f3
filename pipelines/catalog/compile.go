package catalog

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"syncline/processors/account"
	"syncline/processors/intake"
	"syncline/processors/party"
	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// Sources compiles the tables, in the order of the file.
func (c *Catalog) Sources() ([]*intake.Source, error) {
	sources := make([]*intake.Source, 0, len(c.Tables))
	for i := range c.Tables {
		s, err := c.source(&c.Tables[i])
		if err != nil {
			return nil, err
		}
		sources = append(sources, s)
	}
	return sources, nil
}

// PartyIdentity is what the party hop needs.
func (c *Catalog) PartyIdentity() (*party.Identity, error) {
	re, err := regexp.Compile(c.Identity.Reference)
	if err != nil {
		return nil, fmt.Errorf("identity.reference: %w", err)
	}
	n := c.Identity.Normalise
	identity := &party.Identity{
		Master: c.Identity.Master, Instances: c.instances(), Reference: re,
		Normal: party.Normal{Blanks: n.Blanks == keepBlanks, Case: party.Case(n.Case), Prefix: n.Prefix, Pad: n.Pad},
	}
	return identity, identity.Prepare()
}

// AccountConfig is what the account hop needs.
func (c *Catalog) AccountConfig() *account.Config {
	roles, rounding := map[string]string{}, map[string]account.Rounding{}
	for name, s := range c.Systems {
		roles[name] = s.Role
		if r := s.Rounding; r != nil {
			rounding[name] = account.Rounding{HalfUp: r.Mode == roundHalfUp, PerDocument: r.Per == roundDocument}
		}
	}
	return &account.Config{Instances: c.instances(), Roles: roles, NameOwner: c.owner("account", "name"), Rounding: rounding}
}

func (c *Catalog) owner(entity, group string) string {
	for _, o := range c.Owners {
		if o.Entity == entity && o.Group == group {
			return o.System
		}
	}
	return ""
}

func (c *Catalog) instances() map[string]string {
	m := map[string]string{}
	for name, s := range c.Systems {
		m[name] = s.Instance
	}
	return m
}

func (c *Catalog) source(t *Table) (*intake.Source, error) {
	entity, ok := entityNamed(t.Entity)
	if !ok {
		return nil, fmt.Errorf("topic %s: no canonical entity %q", t.Topic, t.Entity)
	}
	shape, ok := entity.Shape(t.Part)
	if !ok {
		return nil, fmt.Errorf("topic %s: entity %s has no part %q", t.Topic, t.Entity, t.Part)
	}
	sys := c.Systems[t.System]
	s := &intake.Source{
		Topic: t.Topic, System: t.System, Entity: t.Entity, Part: t.Part, Prefix: t.Prefix, Key: t.Key, Parent: t.Parent,
		Placeholder: sys.Placeholder, Tombstones: t.Deletes == byTombstone, Changed: timeColumns(t.Changed), Gone: t.Gone, Fields: make([]intake.Field, len(shape.Fields)),
	}
	if t.Prefix == "" {
		for _, o := range c.Tables {
			if o.Prefix != "" && o.System == t.System && o.Entity == t.Entity && o.Part == t.Part {
				s.Others = append(s.Others, o.Prefix)
			}
		}
	}
	if s.Changed == nil {
		s.Changed = timeColumns(sys.Changed)
	}
	for _, e := range sys.Epochs {
		at, err := time.Parse(time.RFC3339Nano, e.Since)
		if err != nil {
			return nil, fmt.Errorf("system %s: epoch %d: %w", t.System, e.Epoch, err)
		}
		s.Epochs = append(s.Epochs, intake.Epoch{Number: e.Epoch, Since: at.UnixMicro()})
	}
	slices.SortFunc(s.Epochs, func(a, b intake.Epoch) int { return int(a.Since - b.Since) })
	for name, m := range t.Fields {
		i := shape.Index(name)
		if i < 0 {
			return nil, fmt.Errorf("topic %s: %s %s has no field %q", t.Topic, t.Entity, t.Part, name)
		}
		f, err := m.field(shape.Fields[i].Kind, sys.Maps)
		if err != nil {
			return nil, fmt.Errorf("topic %s: field %s: %w", t.Topic, name, err)
		}
		s.Fields[i] = f
	}
	if t.Party != nil {
		f, err := t.Party.field(change.String, sys.Maps)
		if err != nil {
			return nil, fmt.Errorf("topic %s: party: %w", t.Topic, err)
		}
		s.Party = &f
	}
	for name, m := range t.Milestones {
		i := slices.Index(change.MilestoneNames[:], name)
		if i < 0 {
			return nil, fmt.Errorf("topic %s: no milestone %q", t.Topic, name)
		}
		s.Times[i] = &intake.Rule{Phases: m.Phases, Snapshot: timeColumns(m.Snapshot)}
	}
	return s, s.Prepare()
}

// units of numbers that stand for times.
var units = map[string]time.Duration{"s": time.Second, "ms": time.Millisecond, "us": time.Microsecond, "ns": time.Nanosecond}

func timeColumns(list []TimeColumn) []intake.TimeColumn {
	var out []intake.TimeColumn
	for _, c := range list {
		out = append(out, intake.TimeColumn{Name: c.Time.Path, Unit: units[c.Time.Unit]})
	}
	return out
}

func (m *Mapping) field(kind change.Kind, maps map[string]map[string]string) (intake.Field, error) {
	var f intake.Field
	switch {
	case m.Path != "":
		f.Columns = []string{m.Path}
	case m.Constant != nil:
		v, err := intake.ParseValue(*m.Constant, kind)
		if err != nil {
			return f, err
		}
		f.Constant = &v
	case m.Ref != nil:
		f.Columns, f.Model, f.Prefix = []string{m.Ref.Path}, m.Ref.Model, m.Ref.Prefix
	case m.Map != nil:
		f.Columns, f.Map = []string{m.Map.Path}, m.Map.Values
		if m.Map.Use != "" {
			f.Map = maps[m.Map.Use]
		}
	case m.Time != nil:
		f.Columns, f.Unit = []string{m.Time.Path}, units[m.Time.Unit]
	case len(m.Coalesce) > 0:
		f.Columns = m.Coalesce
	}
	if m.Default != nil {
		v := change.OfString(*m.Default)
		if kind != change.String {
			var err error
			if v, err = intake.ParseValue(*m.Default, kind); err != nil {
				return f, err
			}
		}
		f.Default = &v
	}
	return f, nil
}

func entityNamed(name string) (canonical.Entity, bool) {
	for _, e := range canonical.Entities() {
		if e.Name == name {
			return e, true
		}
	}
	return canonical.Entity{}, false
}
