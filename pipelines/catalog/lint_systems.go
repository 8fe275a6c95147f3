package catalog

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"syncline/processors/party"
	"syncline/schemas/canonical"
)

// top checks what stands once in the file.
func (l *linter) top() {
	if l.c.Name == "" {
		l.add("$.catalog", "name it, for messages", "the catalog has no name")
	}
	if l.c.Version < 1 {
		l.add("$.version", "number its content from 1", "no version %d", l.c.Version)
	}
	if len(l.c.Tables) == 0 {
		l.add("$.tables", "map a table", "no table is mapped")
	}
}

// A system's name is part of state keys, an instance's of every canonical id:
// neither may hold what separates the parts of those.
const (
	namePattern     = `^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`
	instancePattern = `^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`
)

func (l *linter) systems() {
	instances := map[string]string{}
	legalName, legalInstance := regexp.MustCompile(namePattern), regexp.MustCompile(instancePattern)
	for _, name := range slices.Sorted(maps.Keys(l.c.Systems)) {
		s, path := l.c.Systems[name], "$.systems."+name
		if !legalName.MatchString(name) {
			l.add("$.systems", "use at most 63 letters, digits, _ and -", "a system cannot be named %q", name)
		}
		if !slices.Contains([]string{"crm", "subs", "erp"}, s.Role) {
			l.add(path+".role", "use crm, subs or erp", "no role %q", s.Role)
		}
		if s.Instance == "" {
			l.add(path, "name the database instance; it becomes part of every canonical id", "instance is missing")
		} else if !legalInstance.MatchString(s.Instance) {
			l.add(path+".instance", "use at most 63 letters, digits, ., _ and -", "an instance cannot be named %q", s.Instance)
		} else if other, ok := instances[s.Instance]; ok {
			l.add(path+".instance", "give each instance a name of its own", "instance %q is also that of system %s", s.Instance, other)
		}
		instances[s.Instance] = name
		if s.Steward == "" {
			l.add(path, "name the human role that answers for this system's data", "steward is missing")
		}
		l.times(path+".changed", s.Changed)
		l.rounding(path+".rounding", s.Rounding)
		last, since := uint32(0), time.Time{}
		for i, e := range s.Epochs {
			if e.Epoch <= last {
				l.add(fmt.Sprintf("%s.epochs[%d]", path, i), "number epochs upwards from 1", "epoch %d does not rise", e.Epoch)
			}
			last = e.Epoch
			at, err := time.Parse(time.RFC3339Nano, e.Since)
			switch {
			case err != nil:
				l.add(fmt.Sprintf("%s.epochs[%d].since", path, i), "write it as 2026-11-22T21:30:00Z", "%q is no time", e.Since)
			case !at.After(since):
				l.add(fmt.Sprintf("%s.epochs[%d].since", path, i), "list restores in the order in which they happened", "%s is not after the epoch before", e.Since)
			default:
				since = at
			}
		}
	}
}

// The words of a system's rounding.
const (
	roundHalfEven, roundHalfUp = "half_even", "half_up"
	roundLine, roundDocument   = "line", "document"
)

func (l *linter) rounding(path string, r *Rounding) {
	if r == nil {
		return
	}
	if !slices.Contains([]string{"", roundHalfEven, roundHalfUp}, r.Mode) {
		l.add(path+".mode", "use half_even or half_up", "no rounding %q", r.Mode)
	}
	if !slices.Contains([]string{"", roundLine, roundDocument}, r.Per) {
		l.add(path+".per", "use line or document", "nothing is rounded per %q", r.Per)
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
	l.normalise(id.Normalise)
}

// The words of identity.normalise that are not party's.
const (
	ignoreBlanks = "ignore"
	keepBlanks   = "keep"
)

func (l *linter) normalise(n Normalise) {
	const path = "$.identity.normalise"
	if !slices.Contains([]string{"", ignoreBlanks, keepBlanks}, n.Blanks) {
		l.add(path+".blanks", "use ignore or keep", "no way %q with blanks", n.Blanks)
	}
	if !slices.Contains([]party.Case{"", party.CaseOfIDs, party.CaseExact, party.CaseIgnore}, party.Case(n.Case)) {
		l.add(path+".case", "use ids, exact or ignore", "no way %q with letters", n.Case)
	}
	if utf8.RuneCountInString(n.Pad) > 1 {
		l.add(path+".pad", "name the one character, usually 0", "%q is more than one character", n.Pad)
	}
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
		if _, ok := l.c.Systems[o.System]; ok && !l.shows(o.System, o.Entity) {
			l.add(path+".system", "map its table, or name the system that has it", "system %s has no table for %s", o.System, o.Entity)
		}
		if o.Group == "" {
			l.add(path, "name the fields by what they are to the business", "group is missing")
		}
		key := o.Entity + "." + o.Group
		if other, ok := owned[key]; ok {
			l.add(path, "decide which system is the system of record", "%s is owned by %s and by %s", key, other, o.System)
		}
		owned[key] = o.System
	}
}

// shows tells whether a system has rows of which an entity is made.
func (l *linter) shows(system, entity string) bool {
	part := ""
	switch entity {
	case "account":
		entity = canonical.Party
	case "payment":
		entity, part = canonical.Invoice, canonical.PartPayment
	}
	_, known := entityNamed(entity)
	return !known || slices.ContainsFunc(l.c.Tables, func(t Table) bool {
		return t.System == system && t.Entity == entity && t.Part == part
	})
}
