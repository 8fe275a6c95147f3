package company

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"syncline/sinks"
	"syncline/sinks/httpcall"
)

// calls are the calls that make a document, in order; the one that makes it valid
// is last.
func (w *Writer) calls(c sinks.Command) []string {
	calls := []string{"head"}
	if !w.words.linesInHead {
		for n := range lines(c) {
			calls = append(calls, fmt.Sprintf("line/%d", n))
		}
	}
	if post, _ := c.Values["post"].(bool); post {
		calls = append(calls, "post")
	}
	return calls
}

// parts are the calls whose effect is there. A line bears the command's id and
// its place, so that the same line twice would be seen.
func (w *Writer) parts(c sinks.Command, i item) []string {
	parts := []string{"head"}
	for n, l := range lines(c) {
		if !w.words.linesInHead && slices.Contains(i.Lines, l) {
			parts = append(parts, fmt.Sprintf("line/%d", n))
		}
	}
	if post, _ := c.Values["post"].(bool); post && i.Status == w.words.active {
		parts = append(parts, "post")
	}
	return parts
}

func lines(c sinks.Command) []line {
	list, _ := c.Values["lines"].([]any)
	var out []line
	for n, e := range list {
		v, _ := e.(map[string]any)
		text := func(name string) string { s, _ := v[name].(string); return s }
		out = append(out, line{Ref: fmt.Sprintf("%s/%d", c.ID, n), Product: text("product"), Quantity: text("quantity"), Price: text("unit_price")})
	}
	return out
}

// Render makes the next call of a command.
func (w *Writer) Render(c sinks.Command, at *sinks.Found, key func(string) string) (sinks.Request, error) {
	k, ok := w.kinds[c.Kind]
	if !ok {
		return sinks.Request{}, fmt.Errorf("kind %q is not known here", c.Kind)
	}
	base := "/" + k.collection
	record := func(id string) string { return base + "/" + url.PathEscape(id) }
	type object = map[string]any
	request := func(call, verb, path string, body any) (sinks.Request, error) {
		b, err := json.Marshal(body)
		return sinks.Request{Call: call, Verb: verb, Path: path, Key: key(call), Body: b}, err
	}
	switch k.verb {
	case makeCustomer:
		return request("create", http.MethodPost, base, customer(c.ID, c.Values))
	case makeCustomers:
		rows := []any{}
		for _, e := range c.Elements {
			rows = append(rows, customer(e.ID, e.Values))
		}
		return request("import", http.MethodPost, base+"/batch", object{"rows": rows})
	case renameCustomer:
		r, err := request("rename", http.MethodPatch, record(c.NativeID), object{"name": c.Values.Text("name")})
		if at != nil {
			r.Version = at.Version
		}
		return r, err
	case activateDocument:
		return request("activate", http.MethodPost, record(c.NativeID)+"/"+w.words.activate, object{})
	case endDocument:
		return request("end", http.MethodPost, record(c.NativeID)+"/"+w.words.end, object{})
	case reverseDocument:
		return request("credit", http.MethodPost, record(c.Values.Text("of"))+"/credits", object{"key": c.ID})
	case addNote:
		return request("note", http.MethodPost, record(c.NativeID)+"/notes", object{"note": c.Values.Text("line")})
	case makeDocument:
		return w.renderDocument(c, at, request)
	default:
		return sinks.Request{}, fmt.Errorf("kind %q has no request", c.Kind)
	}
}

func customer(id string, v sinks.Values) map[string]any {
	return map[string]any{"key": id, "code": v.Text("code"), "name": v.Text("name"), "parent": v.Text("parent")}
}

func (w *Writer) renderDocument(c sinks.Command, at *sinks.Found, request func(call, verb, path string, body any) (sinks.Request, error)) (sinks.Request, error) {
	for n, call := range w.calls(c) {
		if at != nil && slices.Contains(at.Parts, call) {
			continue
		}
		switch call {
		case "head":
			head := map[string]any{"key": c.ID, "code": c.Values.Text("code"), "party": c.Values.Text("party"), "currency": c.Values.Text("currency")}
			if w.words.linesInHead {
				head["lines"] = lines(c)
			}
			return request(call, http.MethodPost, "/"+w.words.documents, head)
		case "post":
			return request(call, http.MethodPost, "/"+w.words.documents+"/"+url.PathEscape(at.ID)+"/"+w.words.activate, map[string]any{})
		default:
			return request(call, http.MethodPost, "/"+w.words.documents+"/"+url.PathEscape(at.ID)+"/lines", lines(c)[n-1])
		}
	}
	return sinks.Request{}, fmt.Errorf("nothing is left to do on record %s", at.ID)
}

// refusal reads an error of the system's own form; without it, the code is empty.
func refusal(reply sinks.Reply) (code, words string) {
	var r struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if reply.Status < 400 || httpcall.Decode(reply, &r) != nil {
		return "", ""
	}
	return r.Error.Code, httpcall.Words([]byte(r.Error.Message))
}

// rejects are the codes that say that a request was not executed, and why.
var rejects = map[string]sinks.Outcome{
	"exists":        {Class: sinks.ClassRejected, Reason: sinks.ReasonNameTaken},
	"period_closed": {Class: sinks.ClassRejected, Reason: sinks.ReasonPeriodClosed},
	"state":         {Class: sinks.ClassRejected, Reason: sinks.ReasonRefused},
	"not_found":     {Class: sinks.ClassRejected, Reason: sinks.ReasonGone},
	"version":       {Class: sinks.ClassConflict},
	"key_mismatch":  {Class: sinks.ClassContract},
	"bad_request":   {Class: sinks.ClassContract},
	"no_such_path":  {Class: sinks.ClassContract},
	"throttled":     {Class: sinks.ClassThrottled},
	"login":         {Class: sinks.ClassAuth},
	"in_progress":   {Class: sinks.ClassInDoubt},
}

// Classify knows the answers of the system; all others are in doubt.
func (w *Writer) Classify(c sinks.Command, r sinks.Request, reply sinks.Reply, err error) sinks.Outcome {
	switch {
	case errors.Is(err, sinks.ErrAuth):
		return sinks.Outcome{Class: sinks.ClassAuth, Words: httpcall.Words([]byte(err.Error()), w.access())}
	case errors.Is(err, sinks.ErrNotSent):
		return sinks.Outcome{Class: sinks.ClassNotSent, Words: err.Error()}
	case err != nil:
		return sinks.Outcome{Class: sinks.ClassInDoubt, Words: err.Error()}
	}
	if code, words := refusal(reply); code != "" {
		o, known := rejects[code]
		if !known || reply.Status >= 500 {
			o = sinks.Outcome{Class: sinks.ClassInDoubt}
		}
		o.Words = words
		if s, err := strconv.Atoi(reply.Header["retry-after"]); err == nil && s > 0 {
			o.RetryAfter = min(time.Duration(s)*time.Second, time.Hour)
		}
		return o
	}
	unknown := sinks.Outcome{Class: sinks.ClassInDoubt, Words: fmt.Sprintf("status %d: %s", reply.Status, httpcall.Words(reply.Body, w.access()))}
	if reply.Status != http.StatusOK && reply.Status != http.StatusCreated {
		return unknown
	}
	k := w.kinds[c.Kind]
	if k.verb == makeCustomers {
		return w.classifyBatch(c, k, reply, unknown)
	}
	var i item
	if httpcall.Decode(reply, &i) != nil || !i.valid() {
		return unknown
	}
	// What comes back must be the record that was meant.
	if c.NativeID != "" && string(i.ID) != c.NativeID || c.NativeID == "" && i.Key != c.ID {
		return unknown
	}
	f := w.found(c, k, i)
	o := sinks.Outcome{Class: sinks.ClassOK, ID: f.ID, Version: f.Version, Values: f.Values, More: !f.Done}
	switch {
	case k.verb == makeDocument && !slices.Contains(f.Parts, r.Call), k.verb != makeDocument && o.More:
		return unknown // it says yes, and shows otherwise
	case reply.Header["idempotent-replayed"] == "true" && f.Done:
		o.Class = sinks.ClassFound
	}
	return o
}

// classifyBatch matches rows by our key; a refused one, which comes without, by
// its place.
func (w *Writer) classifyBatch(c sinks.Command, k kind, reply sinks.Reply, unknown sinks.Outcome) sinks.Outcome {
	var answer struct {
		Rows  *[]json.RawMessage `json:"rows"`
		Error json.RawMessage    `json:"error"`
	}
	if httpcall.Decode(reply, &answer) != nil || answer.Rows == nil || len(answer.Error) > 0 {
		return unknown
	}
	o := sinks.Outcome{Class: sinks.ClassOK, Elements: map[string]sinks.Outcome{}}
	for _, raw := range *answer.Rows {
		var refused struct {
			Row   *int `json:"row"`
			Error struct {
				Message string `json:"message"`
			} `json:"error"`
		}
		var i item
		switch {
		case json.Unmarshal(raw, &refused) == nil && refused.Row != nil && *refused.Row >= 0 && *refused.Row < len(c.Elements):
			o.Elements[c.Elements[*refused.Row].ID] = sinks.Outcome{
				Class: sinks.ClassRejected, Reason: sinks.ReasonRefused, Words: httpcall.Words([]byte(refused.Error.Message)),
			}
		case json.Unmarshal(raw, &i) == nil && i.valid() && slices.ContainsFunc(c.Elements, func(e sinks.Element) bool { return e.ID == i.Key }):
			f := w.found(c, k, i)
			o.Elements[i.Key] = sinks.Outcome{Class: sinks.ClassOK, ID: f.ID, Version: f.Version, Values: f.Values}
		}
	}
	return o
}
