package office

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"syncline/sinks/sinktest/fake"
)

// stored is what the key store has of a key.
type stored struct {
	since   time.Time
	content string
	until   time.Time // its request runs until then
	answer  *answer
}

// write does what a request asks for, under its key and its fault, and returns
// what would be answered.
func (o *Office) write(r *http.Request, path []string, body []byte, f *fake.Fault) answer {
	key := ""
	if o.nature.Keys != nil && !o.nature.IgnoresKeys {
		key = r.Header.Get("Idempotency-Key")
	}
	if key == "" {
		return o.execute(r, path, body, f, nil)
	}
	content := r.Method + " " + r.URL.Path + "\n" + string(body)
	at := o.now()
	if had := o.keys[key]; had != nil && at.Sub(had.since) < o.nature.Keys.Window {
		switch {
		case had.content != content:
			o.counts.Mismatches++
			status := o.nature.Mismatch
			if status == 0 {
				status = http.StatusBadRequest
			}
			return refusal(status, "key_mismatch", "the key was used for another request")
		case at.Before(had.until):
			wait := had.until.Sub(at)/2 + time.Second
			return refusal(http.StatusConflict, "in_progress", "a request with the key is at work").with("Retry-After", strconv.Itoa(int(wait.Seconds())))
		case had.answer != nil:
			return had.answer.with("Idempotent-Replayed", "true")
		}
	}
	s := &stored{since: at, content: content}
	o.keys[key] = s
	a := o.execute(r, path, body, f, s)
	if s.answer == nil && !at.Before(s.until) {
		if a.status < 300 || o.nature.Keys.StoresFailures && a.status != http.StatusTooManyRequests && a.status != http.StatusUnauthorized {
			s.answer = &a
		} else {
			delete(o.keys, key)
		}
	}
	return a
}

// execute lets the request take effect: now, later, or not at all.
func (o *Office) execute(r *http.Request, path []string, body []byte, f *fake.Fault, s *stored) answer {
	act := func() answer { return o.effect(r, path, body, f) }
	if f == nil {
		return act()
	}
	switch f.Kind {
	case fake.Late:
		due := o.now().Add(f.After)
		if s != nil {
			s.until = due
		}
		o.pending = append(o.pending, pending{due, func() {
			a := act()
			if s != nil {
				s.answer = &a
			}
		}})
		return answer{}
	case fake.Dropped, fake.Silent:
		return answer{status: http.StatusServiceUnavailable}
	case fake.Failed:
		return refusal(status(f.Status), "down", "try again later")
	case fake.FailedActed:
		act()
		return refusal(status(f.Status), "down", "something went wrong")
	case fake.Throttled:
		return refusal(http.StatusTooManyRequests, "throttled", "too many").with("Retry-After", strconv.Itoa(int(f.RetryAfter.Seconds())))
	case fake.Unauthorized:
		return refusal(http.StatusUnauthorized, "login", "the token is not valid")
	case fake.Stale:
		return refusal(http.StatusPreconditionFailed, "version", "the record has another version")
	case fake.PeriodClosed:
		return refusal(http.StatusUnprocessableEntity, "period_closed", "the period 2026-06 is closed")
	case fake.Redirect:
		return answer{status: http.StatusTemporaryRedirect, body: "moved"}
	default: // the answer is what goes wrong
		return act()
	}
}

func status(s int) int {
	if s == 0 {
		return http.StatusInternalServerError
	}
	return s
}

// misanswer answers as the fault says. a is what would be right.
func (o *Office) misanswer(w http.ResponseWriter, r *http.Request, f fake.Fault, a answer) {
	look := r.Method == http.MethodGet
	switch f.Kind {
	case fake.Late, fake.Silent:
		o.hold(r)
	case fake.LostReply, fake.Dropped:
		if err := cut(w); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	case fake.HTML:
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html><body>Maintenance, back soon</body></html>"))
	case fake.ErrorBody:
		send(w, answer{status: http.StatusOK, body: map[string]any{"error": map[string]any{"code": "E17", "message": "internal"}, "items": []any{}}})
	case fake.Message:
		send(w, answer{status: http.StatusOK, body: map[string]any{"message": "already there"}})
	case fake.WrongID:
		send(w, answer{status: http.StatusCreated, body: map[string]any{"id": "number already used", "version": 1}})
	case fake.MorePages:
		send(w, answer{status: http.StatusOK, body: map[string]any{"items": []any{}, "more": true}})
	case fake.Empty:
		send(w, answer{status: http.StatusOK, body: map[string]any{"items": []any{}, "more": false}})
	case fake.Redirect:
		w.Header().Set("Location", o.other.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
	case fake.Drops:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"id":`))
		_ = http.NewResponseController(w).Flush()
		o.hold(r)
	case fake.Huge:
		w.Header().Set("Content-Type", "application/json")
		chunk := bytes.Repeat([]byte(" "), 1<<20)
		for range 100 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	case fake.Gzip:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		_ = http.NewResponseController(w).Flush() // a careful caller stops at the header
		z := gzip.NewWriter(w)
		chunk := bytes.Repeat([]byte(" "), 64<<10)
		for range 1600 {
			if _, err := z.Write(chunk); err != nil {
				return
			}
			if err := z.Flush(); err != nil {
				return
			}
		}
		_ = z.Close()
	case fake.DuplicateKeys:
		b, _ := json.Marshal(a.body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"id":1,"items":[],"more":false,"version":1,%s`, b[1:])
	default:
		switch {
		case look && f.Kind == fake.Unauthorized:
			a = refusal(http.StatusUnauthorized, "login", "the token is not valid")
		case look && f.Kind == fake.Failed:
			a = refusal(status(f.Status), "down", "try again later")
		case look && f.Kind == fake.Throttled:
			a = refusal(http.StatusTooManyRequests, "throttled", "too many").with("Retry-After", strconv.Itoa(int(f.RetryAfter.Seconds())))
		}
		send(w, a)
	}
}

// hold keeps a call until its caller gives up.
func (o *Office) hold(r *http.Request) {
	o.holding <- struct{}{}
	<-r.Context().Done()
}
