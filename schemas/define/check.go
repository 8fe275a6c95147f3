package define

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// envelope is what every record of an entity begins with: versions are written
// into encoded records behind its first fields.
var envelope = []string{"entity_id", "account_id", "version", "deleted", "system", "native_id", "updated_at", "source_position"}

// check holds the definitions against each other.
func check(all []Record) error {
	var errs []error
	shapes := map[string]*Record{}
	for i := range all {
		if all[i].Shape {
			shapes[all[i].Name] = &all[i]
		}
	}
	var head []Field
	items := map[bool]map[string]itemOf{true: {}, false: {}}
	for i := range all {
		r := &all[i]
		add := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf(r.file()+": "+format, args...))
		}
		if r.Own > 0 {
			if head == nil && len(r.Fields) >= r.Own {
				head = r.Fields[:r.Own]
			}
			if len(r.Fields) < r.Own || !reflect.DeepEqual(r.Fields[:r.Own], head) || names(head) != fmt.Sprint(envelope) {
				add("it must begin with the envelope, the same in every entity, word for word: %v", envelope)
			}
		}
		if r.Shape {
			errs = append(errs, r.numbers()...)
			errs = append(errs, r.refs(shapes)...)
		} else if r.Source != "" && shapes[r.Source] == nil {
			add("shape %q: there is no such file in shape", r.Source)
			continue
		}
		errs = append(errs, r.copies(shapes[r.Source])...)
		for _, f := range r.Fields {
			if f.Type != List {
				continue
			}
			was, ok := items[r.Shape][f.Item]
			if ok && !reflect.DeepEqual(was.fields, f.Of) {
				add("field %s: its items are called %s as those of %s and are not the same: make them so, or give them a name of their own", f.Name, f.Item, was.file)
			}
			items[r.Shape][f.Item] = itemOf{r.file(), f.Of}
		}
	}
	return errors.Join(errs...)
}

type itemOf struct {
	file   string
	fields []Field
}

func names(fields []Field) string {
	var out []string
	for _, f := range fields {
		out = append(out, f.Name)
	}
	return fmt.Sprint(out)
}

func (r *Record) file() string {
	if r.Shape {
		return "shape/" + r.Name + ".avsc"
	}
	return r.Name + ".avsc"
}

// groups are the lists of fields that have numbers of their own: the header and
// each part, "" and the part's name.
func (r *Record) groups(each func(part string, fields []Field)) {
	var header []Field
	for _, f := range r.Fields {
		if f.Type != List {
			header = append(header, f)
		}
	}
	each("", header)
	for _, f := range r.Fields {
		if f.Type == List {
			each(f.Part, f.Of)
		}
	}
}

// numbers: rows are stored as lists of values, so numbers count from 0 in the
// order of the file, without a gap.
func (r *Record) numbers() []error {
	var errs []error
	r.groups(func(part string, fields []Field) {
		for i, f := range fields {
			if f.Number != i {
				errs = append(errs, fmt.Errorf("%s: field %s: number %d stands at place %d: fields stand in order of their numbers, which count from 0 without a gap; a field that is gone is retired", r.file(), dotted(part, f.Name), f.Number, i))
			}
		}
	})
	return errs
}

func (r *Record) refs(shapes map[string]*Record) []error {
	var errs []error
	r.groups(func(part string, fields []Field) {
		for _, f := range fields {
			if f.Ref != "" && shapes[f.Ref] == nil {
				errs = append(errs, fmt.Errorf("%s: field %s: ref %q is no entity", r.file(), dotted(part, f.Name), f.Ref))
			}
		}
	})
	return errs
}

// copies: what a record copies must be there, of the same type and class.
func (r *Record) copies(source *Record) []error {
	var errs []error
	var walk func(at string, to, from []Field)
	walk = func(at string, to, from []Field) {
		for _, f := range to {
			if f.From == "" {
				continue
			}
			where := r.file() + ": field " + dotted(at, f.Name)
			g := named(from, f.From)
			switch {
			case r.Source == "":
				errs = append(errs, fmt.Errorf("%s: from %q, and the record names no shape", where, f.From))
			case g == nil || g.Retired:
				errs = append(errs, fmt.Errorf("%s: from %q: shape %s has no such field", where, f.From, strings.TrimSuffix(r.Source+"."+at, ".")))
			case f.Type == List && g.Type == List:
				walk(f.Name, f.Of, g.Of)
			case f.Type.copyable() != g.Type:
				errs = append(errs, fmt.Errorf("%s: a %s cannot be copied from a %s", where, f.Type, g.Type))
			case !f.Null && f.Type != String:
				errs = append(errs, fmt.Errorf("%s: what is copied may be NULL: add null to the type", where))
			case f.Class != g.Class:
				errs = append(errs, fmt.Errorf("%s: it is %s and copied from what is %s: a copy keeps the class", where, f.Class, g.Class))
			}
		}
	}
	var from []Field
	if source != nil {
		from = source.Fields
	}
	walk("", r.Fields, from)
	return errs
}

// copyable is the type of a shape that a record's type is copied from.
func (t Type) copyable() Type {
	switch {
	case t == Decimal:
		return BigDecimal
	case slices.Contains([]Type{String, Boolean, Long, Date, Micros}, t):
		return t
	default:
		return "nothing"
	}
}

func dotted(part, name string) string {
	if part == "" {
		return name
	}
	return part + "." + name
}
