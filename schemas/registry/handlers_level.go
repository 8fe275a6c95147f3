package registry

import (
	"context"
	"encoding/json"
	"net/http"
)

func (s *Server) getGlobalLevel(ctx context.Context, _ *http.Request) (any, error) {
	if err := s.store.refresh(ctx); err != nil {
		return nil, err
	}
	level, _ := s.store.levelOf("")
	return map[string]Level{"compatibilityLevel": level}, nil
}

func (s *Server) getLevel(ctx context.Context, r *http.Request) (any, error) {
	global, err := boolParam(r, "defaultToGlobal")
	if err != nil {
		return nil, err
	}
	if err := s.store.refresh(ctx); err != nil {
		return nil, err
	}
	subject := r.PathValue("subject")
	level, ok := s.store.levelOf(subject)
	switch {
	case ok:
	case global:
		level = s.store.effectiveLevel(subject)
	default:
		return nil, noLevel(subject)
	}
	return map[string]Level{"compatibilityLevel": level}, nil
}

func noLevel(subject string) error {
	return fail(codeLevelNotFound, "Subject '%s' does not have subject-level compatibility configured", subject)
}

// putLevel sets the level of the path's subject, or the global one.
func (s *Server) putLevel(ctx context.Context, r *http.Request) (any, error) {
	members, err := readBody(r)
	if err != nil {
		return nil, err
	}
	var wanted string
	for name, value := range members {
		switch {
		case string(value) == "null":
		case name == "compatibility":
			if json.Unmarshal(value, &wanted) != nil {
				return nil, fail(codeInvalidLevel, "\"compatibility\" is not a string")
			}
		case !isEmptyJSON(value):
			return nil, notSupported("member "+clip(name)+" of the configuration", "Only compatibility can be set.")
		}
	}
	level, err := ParseLevel(wanted)
	if err != nil {
		return nil, err
	}
	if err := s.store.setLevel(ctx, r.PathValue("subject"), level); err != nil {
		return nil, err
	}
	return map[string]Level{"compatibility": level}, nil
}

// deleteLevel gives the level that was taken away. Clients disagree about the
// member's name, so it stands under both.
func (s *Server) deleteLevel(ctx context.Context, r *http.Request) (any, error) {
	if err := s.store.refresh(ctx); err != nil {
		return nil, err
	}
	subject := r.PathValue("subject")
	level, ok := s.store.levelOf(subject)
	if !ok {
		return nil, noLevel(subject)
	}
	if err := s.store.setLevel(ctx, subject, ""); err != nil {
		return nil, err
	}
	return map[string]Level{"compatibility": level, "compatibilityLevel": level}, nil
}

// compatible checks against what the subject's level asks for. A subject that
// does not exist stands in nobody's way.
func (s *Server) compatible(ctx context.Context, r *http.Request) (any, error) {
	sc, err := readSchema(r)
	if err != nil {
		return nil, err
	}
	if err := s.store.refresh(ctx); err != nil {
		return nil, err
	}
	level, versions, err := s.store.predecessors(r.PathValue("subject"))
	if err != nil {
		return nil, err
	}
	return s.verdict(r, check(level, s.cfg.Policy, sc, versions))
}

// compatibleWithVersion checks against one version, in the direction of the
// subject's level.
func (s *Server) compatibleWithVersion(ctx context.Context, r *http.Request) (any, error) {
	sc, err := readSchema(r)
	if err != nil {
		return nil, err
	}
	v, err := s.pick(ctx, r)
	if err != nil {
		return nil, err
	}
	old, err := s.store.versions(v.Subject)[v.Version-1].parsed()
	if err != nil {
		return nil, fail(codeStore, "version %d (id %d) cannot be compared with: %v", v.Version, v.ID, err)
	}
	level := s.store.effectiveLevel(v.Subject)
	return s.verdict(r, check(level, s.cfg.Policy, sc, []numbered{{v.Version, old}}))
}

func (s *Server) verdict(r *http.Request, reasons []string) (any, error) {
	verbose, err := boolParam(r, "verbose")
	if err != nil {
		return nil, err
	}
	answer := map[string]any{"is_compatible": len(reasons) == 0}
	if verbose {
		answer["messages"] = append([]string{}, reasons...)
	}
	return answer, nil
}
