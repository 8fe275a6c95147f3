package office

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"syncline/sinks/sinktest/fake"
)

// order is what a request's body can say. A name that a call does not know is refused.
type order struct {
	Key      string  `json:"key"`
	Code     string  `json:"code"`
	Name     *string `json:"name"`
	Party    string  `json:"party"`
	Parent   string  `json:"parent"`
	Currency string  `json:"currency"`
	Note     string  `json:"note"`
	Lines    []line  `json:"lines"`
	Rows     []order `json:"rows"`
	line
}

type line struct {
	Ref      string `json:"ref"`
	Product  string `json:"product"`
	Quantity string `json:"quantity"`
	Price    string `json:"price"`
}

func (o *Office) sort(collection string) string {
	switch collection {
	case o.words.customers:
		return fake.Customer
	case o.words.documents:
		return fake.Document
	default:
		return ""
	}
}

// effect changes the books.
func (o *Office) effect(r *http.Request, path []string, body []byte, f *fake.Fault) answer {
	sort := o.sort(path[0])
	var in order
	if sort == "" || json.Unmarshal(body, &in) != nil {
		return refusal(http.StatusBadRequest, "bad_request", "no such collection, or a body that is not understood")
	}
	switch {
	case len(path) == 1 && r.Method == http.MethodPost:
		return o.create(sort, in)
	case len(path) == 2 && path[1] == "batch":
		return o.batch(sort, in.Rows, f)
	case len(path) >= 2:
		at := o.byID(path[1])
		if at == nil || at.Sort != sort {
			return refusal(http.StatusNotFound, "not_found", "no record "+path[1])
		}
		if v := r.Header.Get("If-Match"); v != "" && v != strconv.Itoa(at.Version) {
			return refusal(http.StatusPreconditionFailed, "version", fmt.Sprintf("the record has version %d, not %s", at.Version, v))
		}
		if len(path) == 2 {
			return o.change(at, in)
		}
		return o.act(at, path[2], in)
	default:
		return refusal(http.StatusNotFound, "no_such_path", "nothing is here")
	}
}

// create makes a record, if its key, code and name are its own.
func (o *Office) create(sort string, in order) answer {
	name := ""
	if in.Name != nil {
		name = *in.Name
	}
	for _, r := range o.records {
		switch {
		case o.nature.Unique && r.Live && in.Key != "" && o.same(r.Key, in.Key):
			return refusal(http.StatusConflict, "exists", "the key is in use").with("X-Record", r.ID)
		case sort == fake.Customer && r.Code != "" && o.nature.Unique && r.Live && o.same(r.Code, in.Code):
			return refusal(http.StatusConflict, "exists", "code "+in.Code+" is in use by record "+r.ID)
		case sort == fake.Customer && r.Sort == "vendor" && o.same(r.Name, name):
			return refusal(http.StatusConflict, "exists", fmt.Sprintf("the name %q belongs to vendor %s, who is inactive", name, r.ID))
		}
	}
	rec := fake.Record{ID: o.nextID(), Sort: sort, Key: in.Key, Code: in.Code, Name: name, Live: true, Party: in.Party, Parent: in.Parent, Currency: in.Currency, Version: 1}
	for _, l := range in.Lines {
		rec.Lines = append(rec.Lines, fake.Line(l))
	}
	at := o.now().Add(o.nature.LookLag)
	o.records = append(o.records, &row{Record: rec, shown: rec, born: at, shownAt: at})
	o.counts.Effects++
	return answer{status: http.StatusCreated, body: o.show(rec)}
}

// batch makes a record of each row; what the answer says of them is the fault's.
func (o *Office) batch(sort string, rows []order, f *fake.Fault) answer {
	var part fake.Fault
	if f != nil && f.Kind == fake.Partial {
		part = *f
	}
	made := len(rows) - part.Refused - part.Missing
	out := []any{}
	for i, in := range rows {
		switch {
		case i < made:
			out = append(out, o.create(sort, in).body)
		case i < made+part.Refused: // without id and key, as some do
			out = append(out, map[string]any{"row": i, "error": map[string]any{"code": "tax_number", "message": "the tax number is not valid"}})
		case i < made+part.Refused+part.MissingActed:
			o.create(sort, in)
		}
	}
	return answer{status: http.StatusOK, body: map[string]any{"rows": out}}
}

// change sets what is named, and nothing else.
func (o *Office) change(at *row, in order) answer {
	o.touch(at, func() {
		if in.Name != nil {
			at.Name = *in.Name
		}
	})
	o.counts.Effects++
	return answer{status: http.StatusOK, body: o.show(at.Record)}
}

// act does something with a document.
func (o *Office) act(at *row, what string, in order) answer {
	switch {
	case what == "lines" && !at.Active:
		o.touch(at, func() { at.Lines = append(at.Lines, fake.Line(in.line)) })
	case what == "notes":
		o.touch(at, func() { at.Notes = strings.TrimPrefix(at.Notes+"\n"+in.Note, "\n") })
	case what == o.words.activate && at.Live:
		o.touch(at, func() { at.Active = true; at.Activations++ })
	case what == o.words.end:
		o.touch(at, func() { at.Live = false })
	case what == "credits" && at.Active:
		made := o.create(fake.Document, in)
		if r := o.records[len(o.records)-1]; made.status == http.StatusCreated {
			r.Of, r.Active, r.Activations = at.ID, true, 1
			r.Party, r.Currency = at.Party, at.Currency
			for _, l := range at.Lines {
				l.Quantity = negated(l.Quantity)
				r.Lines = append(r.Lines, l)
			}
			r.shown = r.Record
			made.body = o.show(r.Record)
		}
		return made
	default:
		return refusal(http.StatusUnprocessableEntity, "state", fmt.Sprintf("record %s does not take %q as it is", at.ID, what))
	}
	o.counts.Effects++
	return answer{status: http.StatusOK, body: o.show(at.Record)}
}

func negated(n string) string {
	if rest, ok := strings.CutPrefix(n, "-"); ok {
		return rest
	}
	return "-" + n
}

// touch changes a record; lists go on showing what was for as long as they lag.
func (o *Office) touch(r *row, change func()) {
	if now := o.now(); !now.Before(r.shownAt) {
		r.shown = r.Record
		r.shown.Lines = slices.Clone(r.Lines)
		r.shownAt = now.Add(o.nature.LookLag)
	}
	change()
	r.Version++
}

func (o *Office) nextID() string {
	o.lastID++
	return strconv.Itoa(o.lastID)
}

func (o *Office) byID(id string) *row {
	for _, r := range o.records {
		if r.ID == id {
			return r
		}
	}
	return nil
}

func (o *Office) same(a, b string) bool {
	return a == b || o.nature.FoldsCase && strings.EqualFold(a, b)
}

const pageSize = 50

// look reads one record, or lists those of a key or code: the living ones only,
// unless it is asked for all.
func (o *Office) look(path []string, q url.Values) answer {
	sort := o.sort(path[0])
	switch {
	case o.nature.Blind || sort == "":
		return refusal(http.StatusNotFound, "no_such_path", "nothing is here")
	case len(path) == 2:
		r := o.byID(path[1])
		if r == nil || r.Sort != sort {
			return refusal(http.StatusNotFound, "not_found", "no record "+path[1])
		}
		return answer{status: http.StatusOK, body: o.show(r.Record)}
	}
	var items []any
	now := o.now()
	wanted := strings.Split(q.Get("key"), ",")
	for _, r := range o.records {
		rec := r.Record
		if now.Before(r.shownAt) {
			rec = r.shown
		}
		if o.nature.StaleVersions {
			rec.Version = 1
		}
		hit := q.Get("key") != "" && slices.ContainsFunc(wanted, func(k string) bool { return o.same(rec.Key, k) }) ||
			q.Get("code") != "" && o.same(rec.Code, q.Get("code"))
		if hit && rec.Sort == sort && !now.Before(r.born) && (rec.Live || q.Get("ended") == "true") {
			items = append(items, o.show(rec))
		}
	}
	from, _ := strconv.Atoi(q.Get("from"))
	from = min(max(from, 0), len(items))
	to := min(from+pageSize, len(items))
	return answer{status: http.StatusOK, body: map[string]any{"items": append([]any{}, items[from:to]...), "more": to < len(items)}}
}

// show is a record as the service shows it.
func (o *Office) show(r fake.Record) map[string]any {
	var id any = json.Number(r.ID)
	if o.nature.TextIDs {
		id = r.ID
	}
	status := o.words.draft
	switch {
	case r.Sort == fake.Customer && r.Live:
		status = "open"
	case r.Sort == fake.Customer:
		status = o.words.archive
	case !r.Live:
		status = o.words.ended
	case r.Active:
		status = o.words.active
	}
	lines := []line{}
	for _, l := range r.Lines {
		lines = append(lines, line(l))
	}
	return map[string]any{
		"id": id, "key": r.Key, "code": r.Code, "name": r.Name, "phone": r.Phone, "status": status, "version": r.Version,
		"party": r.Party, "parent": r.Parent, "currency": r.Currency, "of": r.Of, "notes": r.Notes, "lines": lines,
	}
}
