package registry

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	mediaType     = "application/vnd.schemaregistry.v1+json"
	mediaTypeJSON = "application/json"
	// maxBodyBytes leaves room for a schema of the largest size as a JSON
	// string in which each character is escaped once.
	maxBodyBytes = 2*MaxSchemaBytes + 64<<10
	// MaxSubjectBytes is the length of the longest subject name.
	MaxSubjectBytes = 512
)

// Server is the registry's REST API. It is safe for concurrent use; several
// may run on one log.
type Server struct {
	cfg   Config
	store *store
	mux   *http.ServeMux
}

// NewServer reads the whole log and returns a server that is ready to answer.
// It fails if the log cannot be read or holds what this package never wrote.
func NewServer(ctx context.Context, cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	st, err := openStore(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, store: st, mux: http.NewServeMux()}
	s.routes()
	return s, nil
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// handler answers with a value to be written as JSON, or with an error.
type handler func(ctx context.Context, r *http.Request) (any, error)

// raw is an answer that is JSON already.
type raw string

func (s *Server) routes() {
	s.handle("GET /{$}", s.root)
	s.handle("GET /subjects", s.listSubjects, "deleted", "subjectPrefix", "offset", "limit", "deletedOnly")
	s.handle("POST /subjects/{subject}", s.lookUp, "deleted", "normalize", "format")
	s.handle("GET /subjects/{subject}/versions", s.listVersions, "deleted", "offset", "limit", "deletedOnly")
	s.handle("POST /subjects/{subject}/versions", s.register, "normalize", "format")
	s.handle("GET /subjects/{subject}/versions/{version}", s.version, "deleted", "format")
	s.handle("GET /subjects/{subject}/versions/{version}/schema", s.versionText, "deleted", "format")
	s.handle("GET /subjects/{subject}/versions/{version}/referencedby", s.referencedBy)
	s.handle("GET /schemas/ids/{id}", s.schemaByID, "subject", "fetchMaxId", "format")
	s.handle("GET /schemas/ids/{id}/schema", s.schemaText, "subject", "format")
	s.handle("GET /schemas/ids/{id}/subjects", s.schemaSubjects, "subject", "deleted")
	s.handle("GET /schemas/ids/{id}/versions", s.schemaVersions, "subject", "deleted")
	s.handle("GET /schemas/types", s.types)
	s.handle("GET /config", s.getGlobalLevel, "defaultToGlobal")
	s.handle("PUT /config", s.putLevel)
	s.handle("DELETE /config", s.deleteLevel)
	s.handle("GET /config/{subject}", s.getLevel, "defaultToGlobal")
	s.handle("PUT /config/{subject}", s.putLevel)
	s.handle("DELETE /config/{subject}", s.deleteLevel)
	s.handle("POST /compatibility/subjects/{subject}/versions/{version}", s.compatibleWithVersion, "verbose", "normalize")
	s.handle("POST /compatibility/subjects/{subject}/versions", s.compatible, "verbose", "normalize")
	s.handle("GET /mode", s.mode, "defaultToGlobal")
	s.handle("GET /mode/{subject}", s.subjectMode, "defaultToGlobal")
	s.handle("GET /contexts", s.contexts, "offset", "limit")
	for pattern, what := range map[string][2]string{
		"DELETE /subjects/{subject}":                    {"deleting subjects", "Ids and versions here are for ever; use a new subject."},
		"DELETE /subjects/{subject}/versions/{version}": {"deleting versions", "Ids and versions here are for ever; register a better version."},
		"PUT /mode":              {"changing the mode", "It is always READWRITE."},
		"DELETE /mode":           {"changing the mode", "It is always READWRITE."},
		"PUT /mode/{subject}":    {"changing the mode", "It is always READWRITE."},
		"DELETE /mode/{subject}": {"changing the mode", "It is always READWRITE."},
		"GET /schemas":           {"listing schemas", "Use GET /subjects and GET /subjects/{subject}/versions."},
	} {
		s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			s.write(w, r, nil, notSupported(what[0], what[1]))
		})
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.write(w, r, nil, fail(http.StatusNotFound, "there is no %s %s in this API", r.Method, clip(r.URL.Path)))
	})
}

// handle serves pattern. Query parameters other than those named are refused:
// each would change what the answer means.
func (s *Server) handle(pattern string, h handler, params ...string) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		answer, err := func() (any, error) {
			if err := checkQuery(r, params); err != nil {
				return nil, err
			}
			if subject := r.PathValue("subject"); subject != "" || strings.Contains(pattern, "{subject}") {
				if err := checkSubject(subject); err != nil {
					return nil, err
				}
			}
			// A client that goes away must not leave an append half known.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), s.cfg.StoreTimeout)
			defer cancel()
			return h(ctx, r)
		}()
		if err != nil {
			s.write(w, r, nil, asAPIError(err, r.PathValue("subject")))
			return
		}
		s.write(w, r, answer, nil)
	})
}

func checkQuery(r *http.Request, allowed []string) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return fail(http.StatusBadRequest, "the query cannot be read: %v", err)
	}
	for name, values := range query {
		if !slices.Contains(allowed, name) {
			return notSupported("query parameter "+clip(name), "Leave it out.")
		}
		value := values[0]
		switch name {
		case "normalize":
			if value != "false" && value != "" {
				return notSupported("normalize=true", "Schemas that differ only in whitespace or key order count as one anyway; leave it out.")
			}
		case "format":
			if value != "" {
				return notSupported("query parameter format", "Leave it out.")
			}
		case "deletedOnly":
			if value != "false" && value != "" {
				return notSupported("deletedOnly=true", "Nothing here is ever deleted.")
			}
		}
	}
	return nil
}

func checkSubject(subject string) error {
	switch {
	case subject == "" || !utf8.ValidString(subject) || strings.ContainsFunc(subject, unicode.IsControl):
		return fail(codeInvalidSubject, "The specified subject %q is not valid: it must be text without control characters", clip(subject))
	case subject == "__GLOBAL" || subject == "__EMPTY":
		return fail(codeInvalidSubject, "The specified subject %q is not valid: the name is reserved", subject)
	case len(subject) > MaxSubjectBytes:
		return fail(codeInvalidSubject, "The specified subject is not valid: it has %d bytes, at most %d are allowed", len(subject), MaxSubjectBytes)
	case strings.HasPrefix(subject, ":.") || strings.HasPrefix(subject, ":*:"):
		return notSupported("contexts (subject "+clip(subject)+")", "Use a plain subject name.")
	}
	return nil
}

// readBody decodes a JSON object into its members.
func readBody(r *http.Request) (map[string]json.RawMessage, error) {
	if ct := r.Header.Get("Content-Type"); ct != "" {
		media, _, err := mime.ParseMediaType(ct)
		if err != nil || !slices.Contains([]string{mediaType, mediaTypeJSON, "application/vnd.schemaregistry+json", "application/octet-stream"}, media) {
			return nil, fail(http.StatusUnsupportedMediaType, "the content type %s is not supported: send %s", clip(ct), mediaType)
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBodyBytes))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, fail(http.StatusRequestEntityTooLarge, "the request has more than %d bytes", maxBodyBytes)
		}
		return nil, fail(http.StatusBadRequest, "the request cannot be read: %v", err)
	}
	if !utf8.Valid(body) {
		return nil, fail(http.StatusBadRequest, "the request is not UTF-8")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		return nil, fail(http.StatusBadRequest, "the request is not a JSON object")
	}
	return members, nil
}

// write sends an answer, or the error if there is one.
func (s *Server) write(w http.ResponseWriter, r *http.Request, answer any, failure *apiError) {
	status := http.StatusOK
	if failure != nil {
		status = failure.status
		answer = struct {
			Code    int    `json:"error_code"`
			Message string `json:"message"`
		}{failure.code, failure.message}
		if status == http.StatusInternalServerError {
			s.cfg.Logger.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", failure.message)
		}
	}
	var body []byte
	if text, ok := answer.(raw); ok {
		body = []byte(text)
	} else {
		var err error
		if body, err = marshal(answer); err != nil {
			s.cfg.Logger.Error("answer cannot be written", "path", r.URL.Path, "error", err)
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
	}
	media := mediaType
	if accept := r.Header.Get("Accept"); strings.Contains(accept, mediaTypeJSON) && !strings.Contains(accept, "vnd.schemaregistry") {
		media = mediaTypeJSON
	}
	w.Header().Set("Content-Type", media)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		s.cfg.Logger.Debug("client went away", "path", r.URL.Path, "error", err)
	}
}
