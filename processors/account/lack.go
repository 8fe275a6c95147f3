package account

import (
	"fmt"
	"slices"
	"strings"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// lack is why a document, or what is made of it, is not whole: the first reason
// that was found, and how many there are.
type lack struct {
	reason string
	count  int
}

// maxReason bounds what a record says of what it lacks.
const maxReason = 500

func (l *lack) add(reason string) {
	if l.count++; l.count > 1 {
		return
	}
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason-len("…")], "") + "…"
	}
	l.reason = reason
}

// join adds what a part lacks; of names the part.
func (l *lack) join(of string, part lack) {
	if part.count == 0 {
		return
	}
	before := l.count
	l.add(of + ": " + part.reason)
	l.count = before + part.count
}

// text is what a record says, nil where nothing lacks.
func (l *lack) text() *string {
	switch l.count {
	case 0:
		return nil
	case 1:
		return &l.reason
	default:
		return text(fmt.Sprintf("%s (and %d more)", l.reason, l.count-1))
	}
}

// refuses reports whether a row lacks what its source says of any of the fields,
// or of all.
func refuses(r *change.Row, fields ...int) bool {
	return slices.ContainsFunc(r.Refused, func(f change.Refusal) bool {
		return f.Field == change.RefusedRow || f.Field == change.RefusedParent || slices.Contains(fields, f.Field)
	})
}

// rowsLack is what was refused of a document's rows.
func rowsLack(d *change.Document) (l lack) {
	for _, f := range d.Header.Refused {
		l.add(f.Reason)
	}
	for i := range d.Children {
		l.row(&d.Children[i])
	}
	return l
}

func (l *lack) row(r *change.Row) {
	for _, f := range r.Refused {
		l.add(fmt.Sprintf("%s %s: %s", r.Part, r.ID, f.Reason))
	}
}

// copied takes what copying a row's fields into a record has said: a value that
// intake should have refused must not stop the task.
func (l *lack) copied(err error) {
	if err != nil {
		l.add(err.Error())
	}
}

// none reports whether nothing lacks.
func (l *lack) none() bool { return l.count == 0 }

// lackOf is what a document lacks, with what its own sums lack.
func (o *Operator) lackOf(s scope, e *entry) (lack, error) {
	if e.doc.Entity == canonical.Invoice {
		f, err := o.figures(s, e)
		return f.lack, err
	}
	l := rowsLack(&e.doc)
	switch e.doc.Entity {
	case canonical.Order:
		o.orderNet(e, &l)
	case canonical.Subscription:
		o.monthlyNet(e, &l)
	}
	return l, nil
}
