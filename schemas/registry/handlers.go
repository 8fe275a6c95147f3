package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// schemaAnswer is one version of a subject. schemaType is left out for AVRO,
// as Confluent does, so that older clients understand it.
type schemaAnswer struct {
	Subject string `json:"subject"`
	Version int    `json:"version"`
	ID      int    `json:"id"`
	Schema  string `json:"schema"`
}

func (s *Server) root(context.Context, *http.Request) (any, error) { return struct{}{}, nil }

func (s *Server) types(context.Context, *http.Request) (any, error) { return []string{"AVRO"}, nil }

func (s *Server) contexts(_ context.Context, r *http.Request) (any, error) {
	return page(r, []string{"."})
}

func (s *Server) mode(context.Context, *http.Request) (any, error) {
	return map[string]string{"mode": "READWRITE"}, nil
}

func (s *Server) subjectMode(ctx context.Context, r *http.Request) (any, error) {
	if flag, err := boolParam(r, "defaultToGlobal"); err != nil {
		return nil, err
	} else if flag {
		return s.mode(ctx, r)
	}
	return nil, fail(codeModeNotFound, "Subject '%s' does not have subject-level mode configured", r.PathValue("subject"))
}

func (s *Server) listSubjects(ctx context.Context, r *http.Request) (any, error) {
	if err := s.store.refresh(ctx); err != nil {
		return nil, err
	}
	prefix := r.URL.Query().Get("subjectPrefix")
	if prefix == ":*:" { // all contexts: there is one
		prefix = ""
	}
	if strings.HasPrefix(prefix, ":") {
		return nil, notSupported("contexts (subjectPrefix "+clip(prefix)+")", "Use a plain prefix.")
	}
	names := []string{}
	for _, name := range s.store.subjectNames() {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return page(r, names)
}

func (s *Server) listVersions(ctx context.Context, r *http.Request) (any, error) {
	entries, err := s.entries(ctx, r.PathValue("subject"))
	if err != nil {
		return nil, err
	}
	versions := make([]int, len(entries))
	for i := range entries {
		versions[i] = i + 1
	}
	return page(r, versions)
}

// entries gives the versions of a subject that must exist.
func (s *Server) entries(ctx context.Context, subject string) ([]*entry, error) {
	if err := s.store.refresh(ctx); err != nil {
		return nil, err
	}
	entries := s.store.versions(subject)
	if len(entries) == 0 {
		return nil, fail(codeSubjectNotFound, "Subject '%s' not found.", subject)
	}
	return entries, nil
}

// pick gives one version of a subject by the request's path.
func (s *Server) pick(ctx context.Context, r *http.Request) (schemaAnswer, error) {
	subject, wanted := r.PathValue("subject"), r.PathValue("version")
	number, err := parseVersion(wanted)
	if err != nil {
		return schemaAnswer{}, err
	}
	entries, err := s.entries(ctx, subject)
	if err != nil {
		return schemaAnswer{}, err
	}
	if number < 0 {
		number = len(entries)
	}
	if number > len(entries) {
		return schemaAnswer{}, fail(codeVersionNotFound, "Version %d not found.", number)
	}
	e := entries[number-1]
	return schemaAnswer{Subject: subject, Version: number, ID: e.id, Schema: e.text}, nil
}

// parseVersion gives -1 for the latest.
func parseVersion(s string) (int, error) {
	if s == "latest" || s == "-1" {
		return -1, nil
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 1 {
		return 0, fail(codeInvalidVersion, "The specified version '%s' is not a valid version id. Allowed values are between [1, %d] and the string \"latest\"", clip(s), math.MaxInt32)
	}
	return int(n), nil
}

func (s *Server) version(ctx context.Context, r *http.Request) (any, error) {
	return s.pick(ctx, r)
}

func (s *Server) versionText(ctx context.Context, r *http.Request) (any, error) {
	v, err := s.pick(ctx, r)
	return raw(v.Schema), err
}

func (s *Server) referencedBy(ctx context.Context, r *http.Request) (any, error) {
	_, err := s.pick(ctx, r)
	return []int{}, err // there are no references, so none to this one
}

// entryOf gives the schema of the request's id, asking the log if need be.
func (s *Server) entryOf(ctx context.Context, r *http.Request) (*entry, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 32)
	if err != nil {
		return nil, fail(http.StatusBadRequest, "%q is not a schema id: ids are whole numbers from 1 to %d", clip(r.PathValue("id")), math.MaxInt32)
	}
	if subject := r.URL.Query().Get("subject"); subject != "" {
		// A hint at the context to look in; the id alone decides here.
		if err := checkSubject(subject); err != nil {
			return nil, err
		}
	}
	if e, ok := s.store.entryByID(int(id)); ok {
		return e, nil
	}
	if err := s.store.refresh(ctx); err != nil {
		return nil, err
	}
	if e, ok := s.store.entryByID(int(id)); ok {
		return e, nil
	}
	return nil, fail(codeSchemaNotFound, "Schema %d not found", id)
}

func (s *Server) schemaByID(ctx context.Context, r *http.Request) (any, error) {
	withMax, err := boolParam(r, "fetchMaxId")
	if err != nil {
		return nil, err
	}
	e, err := s.entryOf(ctx, r)
	if err != nil {
		return nil, err
	}
	answer := struct {
		Schema string `json:"schema"`
		MaxID  int    `json:"maxId,omitempty"`
	}{Schema: e.text}
	if withMax {
		if err := s.store.refresh(ctx); err != nil {
			return nil, err
		}
		answer.MaxID = s.store.largestID()
	}
	return answer, nil
}

func (s *Server) schemaText(ctx context.Context, r *http.Request) (any, error) {
	e, err := s.entryOf(ctx, r)
	if err != nil {
		return nil, err
	}
	return raw(e.text), nil
}

func (s *Server) schemaSubjects(ctx context.Context, r *http.Request) (any, error) {
	uses, err := s.usesOf(ctx, r)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(uses))
	for i, u := range uses {
		names[i] = u.subject
	}
	return names, nil
}

func (s *Server) schemaVersions(ctx context.Context, r *http.Request) (any, error) {
	uses, err := s.usesOf(ctx, r)
	if err != nil {
		return nil, err
	}
	type pair struct {
		Subject string `json:"subject"`
		Version int    `json:"version"`
	}
	pairs := make([]pair, len(uses))
	for i, u := range uses {
		pairs[i] = pair{u.subject, u.version}
	}
	return pairs, nil
}

func (s *Server) usesOf(ctx context.Context, r *http.Request) ([]usage, error) {
	e, err := s.entryOf(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := s.store.refresh(ctx); err != nil {
		return nil, err
	}
	var uses []usage
	only := r.URL.Query().Get("subject")
	for _, u := range s.store.usedBy(e.id) {
		if only == "" || u.subject == only {
			uses = append(uses, u)
		}
	}
	return uses, nil
}

func (s *Server) register(ctx context.Context, r *http.Request) (any, error) {
	sc, err := readSchema(r)
	if err != nil {
		return nil, err
	}
	id, err := s.store.register(ctx, r.PathValue("subject"), sc)
	if err != nil {
		return nil, err
	}
	return struct {
		ID int `json:"id"`
	}{id}, nil
}

func (s *Server) lookUp(ctx context.Context, r *http.Request) (any, error) {
	sc, err := readSchema(r)
	if err != nil {
		return nil, err
	}
	subject := r.PathValue("subject")
	id, version, ok := s.store.find(subject, sc)
	if !ok {
		if _, err := s.entries(ctx, subject); err != nil {
			return nil, err
		}
		if id, version, ok = s.store.find(subject, sc); !ok {
			return nil, fail(codeSchemaNotFound, "Schema not found")
		}
	}
	return schemaAnswer{Subject: subject, Version: version, ID: id, Schema: s.store.versions(subject)[version-1].text}, nil
}

// readSchema takes the schema out of a request, and refuses what a request may
// ask for and this registry does not do.
func readSchema(r *http.Request) (*schema, error) {
	members, err := readBody(r)
	if err != nil {
		return nil, err
	}
	var text string
	for name, value := range members {
		if string(value) == "null" {
			continue
		}
		switch name {
		case "schema":
			if json.Unmarshal(value, &text) != nil {
				return nil, fail(codeInvalidSchema, "\"schema\" is not a string: send the schema's JSON as one string")
			}
		case "schemaType":
			var kind string
			if json.Unmarshal(value, &kind) != nil || (kind != "AVRO" && kind != "") {
				return nil, notSupported("schemaType "+clip(string(value)), "Only AVRO schemas are kept here.")
			}
		case "references":
			if !isEmptyJSON(value) {
				return nil, notSupported("schema references", "Put the referenced types into the schema itself.")
			}
		case "id", "version":
			// Clients without a wish send 0 or -1.
			if n, err := strconv.Atoi(string(value)); err != nil || n > 0 {
				return nil, notSupported("choosing the "+name, "The registry gives ids and versions out itself; leave it out.")
			}
		default:
			if !isEmptyJSON(value) {
				return nil, notSupported("member "+clip(name)+" of the request", "Leave it out.")
			}
		}
	}
	return parseSchema(text)
}

func isEmptyJSON(v json.RawMessage) bool {
	var compact bytes.Buffer
	if json.Compact(&compact, v) != nil {
		return false
	}
	switch compact.String() {
	case "[]", "{}", "false", `""`:
		return true
	}
	return false
}

func boolParam(r *http.Request, name string) (bool, error) {
	value := r.URL.Query().Get(name)
	if value == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(value)
	if err != nil {
		return false, fail(http.StatusBadRequest, "query parameter %s is %q: it is true or false", name, clip(value))
	}
	return b, nil
}

// page cuts a list by the query's offset and limit.
func page[T any](r *http.Request, list []T) ([]T, error) {
	bounds := map[string]int{"offset": 0, "limit": -1}
	for name := range bounds {
		if value := r.URL.Query().Get(name); value != "" {
			n, err := strconv.Atoi(value)
			if err != nil || (name == "offset" && n < 0) {
				return nil, fail(http.StatusBadRequest, "query parameter %s is %q: it is a whole number", name, clip(value))
			}
			bounds[name] = n
		}
	}
	list = list[min(bounds["offset"], len(list)):]
	if limit := bounds["limit"]; limit >= 0 {
		list = list[:min(limit, len(list))]
	}
	return list, nil
}
