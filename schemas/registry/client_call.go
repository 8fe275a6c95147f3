package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/riferrei/srclient"
)

// call makes one request, or the few of one operation, with a time-out. Each
// operation has an srclient of its own: it costs two empty maps, leaves no
// cache of its own behind, and is the only way to give it a context.
func call[T any](ctx context.Context, c *Remote, do func(*srclient.SchemaRegistryClient) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	sr := srclient.NewSchemaRegistryClient(c.base, srclient.WithClient(c.http), srclient.WithPreReqFn(func(req *http.Request) error {
		*req = *req.WithContext(ctx)
		if c.cfg.Username != "" || c.cfg.Password != "" {
			req.SetBasicAuth(c.cfg.Username, c.cfg.Password)
		}
		return nil
	}))
	sr.CachingEnabled(false)
	return do(sr)
}

// answerCode gives the error code of a registry's own answer. Whatever else
// srclient returns came from the way there, or from something in between.
func answerCode(err error) (code int, answered bool) {
	var answer srclient.Error
	if !errors.As(err, &answer) {
		return 0, false
	}
	return answer.Code, true
}

// classify wraps a failure as ErrRejected or ErrUnreachable; nil stays nil.
func classify(err error, doing string) error {
	if err == nil {
		return nil
	}
	var answer srclient.Error
	if !errors.As(err, &answer) {
		return fmt.Errorf("%w: %s: %w", ErrUnreachable, doing, err)
	}
	status := answer.Code
	for status > 999 {
		status /= 10
	}
	switch status {
	case http.StatusNotFound:
		// A bare 404 is some other server's: the registry's have five digits.
		if answer.Code == http.StatusNotFound {
			break
		}
		fallthrough
	case http.StatusConflict, http.StatusUnprocessableEntity, http.StatusBadRequest,
		http.StatusRequestEntityTooLarge, http.StatusNotImplemented, http.StatusInsufficientStorage:
		return fmt.Errorf("%w: %s: %s (code %d)", ErrRejected, doing, clipTo(answer.Message, 2000), answer.Code)
	}
	return fmt.Errorf("%w: %s: %s (code %d)", ErrUnreachable, doing, clipTo(answer.Message, 2000), answer.Code)
}

// notARegistry tells the answers that a registry does not give from those that
// it does: of its errors all are JSON, with a code of five digits or one that
// says more than that a path is unknown.
func notARegistry(status int, body []byte) error {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return fmt.Errorf("%w: %d %s", ErrDenied, status, http.StatusText(status))
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return nil // a proxy's, and it passes
	}
	if status < 400 || status >= 500 {
		return nil
	}
	var answer struct {
		Code int `json:"error_code"`
	}
	if json.Unmarshal(body, &answer) == nil && answer.Code != 0 && answer.Code != http.StatusNotFound && answer.Code != http.StatusMethodNotAllowed {
		return nil
	}
	return fmt.Errorf("%w: it answers %d %s: %s", ErrForeign, status, http.StatusText(status), clipTo(string(bytes.TrimSpace(body)), 100))
}

// bounded reads answers itself: srclient reads without a limit, and takes
// "null" for an object that it may look into.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := b.next.RoundTrip(req)
	if err != nil {
		return nil, err //nolint:wrapcheck // a transport passes errors on
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes+1))
	closing := res.Body.Close()
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the registry's answer: %w", err)
	case closing != nil:
		return nil, fmt.Errorf("reading the registry's answer: %w", closing)
	case len(body) > maxAnswerBytes:
		return nil, fmt.Errorf("the registry's answer has more than %d bytes", maxAnswerBytes)
	case res.StatusCode < 300 && bytes.Equal(bytes.TrimSpace(body), []byte("null")):
		return nil, errors.New("the registry answered null")
	}
	if err := notARegistry(res.StatusCode, body); err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}
