package company

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"syncline/sinks"
	"syncline/sinks/httpcall"
)

// item is a record as a system shows it.
type item struct {
	ID       httpcall.ID     `json:"id"`
	Key      string          `json:"key"`
	Code     string          `json:"code"`
	Name     string          `json:"name"`
	Status   string          `json:"status"`
	Version  int             `json:"version"`
	Party    string          `json:"party"`
	Currency string          `json:"currency"`
	Of       string          `json:"of"`
	Notes    string          `json:"notes"`
	Lines    []line          `json:"lines"`
	Error    json.RawMessage `json:"error"`
}

type line struct {
	Ref      string `json:"ref"`
	Product  string `json:"product"`
	Quantity string `json:"quantity"`
	Price    string `json:"price"`
}

// nativeID is the form of every id: what is not of it is a sentence, not an id.
var nativeID = regexp.MustCompile(`^[1-9][0-9]{0,17}$`)

func (i item) valid() bool {
	return len(i.Error) == 0 && nativeID.MatchString(string(i.ID)) && i.Version > 0 && i.Status != ""
}

const (
	mostPages   = 200
	keysInALook = 40
)

// Find asks by key, and by the lane's code; for a change, by the record's id.
func (w *Writer) Find(ctx context.Context, c sinks.Command) ([]sinks.Found, error) {
	k, ok := w.kinds[c.Kind]
	if !ok {
		return nil, fmt.Errorf("kind %q is not known here", c.Kind)
	}
	if c.NativeID != "" {
		return w.findByID(ctx, c, k)
	}
	if k.verb == makeCustomers {
		return w.findElements(ctx, c, k)
	}
	items, err := w.list(ctx, k.collection, "key", c.ID)
	if err != nil {
		return nil, err
	}
	if code := c.Values.Text("code"); code != "" {
		named, err := w.list(ctx, k.collection, "code", code)
		if err != nil {
			return nil, err
		}
		items = append(items, named...)
	}
	var found []sinks.Found
	had := map[httpcall.ID]bool{}
	for _, i := range items {
		if !had[i.ID] {
			had[i.ID] = true
			f := w.found(c, k, i)
			// A target that folds case lists another code, too.
			f.InLane = i.Code != "" && i.Code == c.Values.Text("code")
			found = append(found, f)
		}
	}
	return found, nil
}

func (w *Writer) findByID(ctx context.Context, c sinks.Command, k kind) ([]sinks.Found, error) {
	reply, err := w.get(ctx, "/"+k.collection+"/"+url.PathEscape(c.NativeID))
	if err != nil {
		return nil, err
	}
	if code, _ := refusal(reply); reply.Status == http.StatusNotFound && code == "not_found" {
		return nil, nil
	}
	var i item
	if err := httpcall.Decode(reply, &i); err != nil {
		return nil, fmt.Errorf("%w: %w", sinks.ErrUnclear, err)
	}
	if reply.Status != http.StatusOK || !i.valid() || string(i.ID) != c.NativeID {
		return nil, fmt.Errorf("%w: status %d for record %s", sinks.ErrUnclear, reply.Status, c.NativeID)
	}
	return []sinks.Found{w.found(c, k, i)}, nil
}

func (w *Writer) findElements(ctx context.Context, c sinks.Command, k kind) ([]sinks.Found, error) {
	var found []sinks.Found
	for from := 0; from < len(c.Elements); from += keysInALook {
		var keys []string
		for _, e := range c.Elements[from:min(from+keysInALook, len(c.Elements))] {
			keys = append(keys, e.ID)
		}
		items, err := w.list(ctx, k.collection, "key", strings.Join(keys, ","))
		if err != nil {
			return nil, err
		}
		for _, i := range items {
			found = append(found, w.found(c, k, i))
		}
	}
	return found, nil
}

// list reads all pages, the ended ones included.
func (w *Writer) list(ctx context.Context, collection, by, value string) ([]item, error) {
	var all []item
	for range mostPages {
		q := url.Values{by: {value}, "ended": {"true"}, "from": {strconv.Itoa(len(all))}}
		reply, err := w.get(ctx, "/"+collection+"?"+q.Encode())
		if err != nil {
			return nil, err
		}
		var page struct {
			Items *[]item         `json:"items"`
			More  *bool           `json:"more"`
			Error json.RawMessage `json:"error"`
		}
		if err := httpcall.Decode(reply, &page); err != nil {
			return nil, fmt.Errorf("%w: status %d: %w", sinks.ErrUnclear, reply.Status, err)
		}
		if reply.Status != http.StatusOK || page.Items == nil || page.More == nil || len(page.Error) > 0 {
			return nil, fmt.Errorf("%w: status %d: %s", sinks.ErrUnclear, reply.Status, httpcall.Words(reply.Body, w.access()))
		}
		for _, i := range *page.Items {
			if !i.valid() {
				return nil, fmt.Errorf("%w: record %q is not of the expected form", sinks.ErrUnclear, i.ID)
			}
		}
		all = append(all, *page.Items...)
		switch {
		case !*page.More:
			return all, nil
		case len(*page.Items) == 0:
			return nil, fmt.Errorf("%w: a page says that there is more, and has nothing", sinks.ErrUnclear)
		}
	}
	return nil, fmt.Errorf("%w: more than %d pages", sinks.ErrUnclear, mostPages)
}

// found is an item as a look of the command shows it.
func (w *Writer) found(c sinks.Command, k kind, i item) sinks.Found {
	f := sinks.Found{
		ID: string(i.ID), Key: i.Key, Version: strconv.Itoa(i.Version),
		Live:   i.Status != w.words.ended && i.Status != w.words.archived,
		Values: map[string]string{"name": i.Name, "code": i.Code},
	}
	switch k.verb {
	case makeCustomer, makeCustomers, reverseDocument:
		f.Done = true
	case renameCustomer:
		f.Done = i.Name == c.Values.Text("name")
	case activateDocument:
		f.Done = i.Status == w.words.active
	case endDocument:
		f.Done = i.Status == w.words.ended
	case addNote:
		f.Done = strings.Contains("\n"+i.Notes+"\n", "\n"+c.Values.Text("line")+"\n")
	case makeDocument:
		f.Parts = w.parts(c, i)
		f.Done = len(f.Parts) == len(w.calls(c))
	}
	return f
}
