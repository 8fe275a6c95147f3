package company_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"syncline/sinks"
	"syncline/sinks/company"
	"syncline/sinks/httpcall"
	"syncline/sinks/sinktest"
	"syncline/sinks/sinktest/fake"
)

// sabotage is a way to get a writer wrong, and the rows that must notice.
type sabotage struct {
	what    string
	options func(*site, *company.Options)
	writer  func(*site, sinks.Writer) sinks.Writer
	red     []string
}

// broken is a writer of which some methods are replaced.
type broken struct {
	sinks.Writer
	find     func(context.Context, sinks.Command, []sinks.Found, error) ([]sinks.Found, error)
	classify func(sinks.Command, sinks.Outcome) sinks.Outcome
	before   func(*sinks.Request)
	apply    func(context.Context, sinks.Request) (sinks.Reply, error)
	identity string
}

func (b broken) Find(ctx context.Context, c sinks.Command) ([]sinks.Found, error) {
	found, err := b.Writer.Find(ctx, c)
	if b.find != nil {
		return b.find(ctx, c, found, err)
	}
	return found, err
}

func (b broken) Classify(c sinks.Command, r sinks.Request, reply sinks.Reply, err error) sinks.Outcome {
	o := b.Writer.Classify(c, r, reply, err)
	if b.classify != nil {
		return b.classify(c, o)
	}
	return o
}

func (b broken) Apply(ctx context.Context, r sinks.Request) (sinks.Reply, error) {
	if b.before != nil {
		b.before(&r)
	}
	if b.apply != nil {
		return b.apply(ctx, r)
	}
	return b.Writer.Apply(ctx, r)
}

func (b broken) Identity(ctx context.Context) (string, error) {
	if b.identity != "" {
		return b.identity, nil
	}
	return b.Writer.Identity(ctx)
}

func with(b broken) func(*site, sinks.Writer) sinks.Writer {
	return func(_ *site, w sinks.Writer) sinks.Writer { b.Writer = w; return b }
}

// each changes what a look has found, record by record; false leaves one out.
func each(change func(sinks.Command, *sinks.Found) bool) func(*site, sinks.Writer) sinks.Writer {
	return with(broken{find: func(_ context.Context, c sinks.Command, found []sinks.Found, err error) ([]sinks.Found, error) {
		out := []sinks.Found{}
		for _, f := range found {
			if change(c, &f) {
				out = append(out, f)
			}
		}
		return out, err
	}})
}

// class takes one class, with a reason if there is one to tell it by, for another.
func class(from sinks.Class, reason string, to sinks.Outcome) func(*site, sinks.Writer) sinks.Writer {
	return with(broken{classify: func(_ sinks.Command, o sinks.Outcome) sinks.Outcome {
		if o.Class == from && (reason == "" || o.Reason == reason) {
			return to
		}
		return o
	}})
}

func profile(change func(*sinks.Profile)) func(*site, *company.Options) {
	return func(_ *site, o *company.Options) { change(&o.Profile) }
}

func keyed(change func(*sinks.Keys)) func(*site, *company.Options) {
	return profile(func(p *sinks.Profile) {
		if p.Keys != nil {
			k := *p.Keys
			change(&k)
			p.Keys = &k
		}
	})
}

func sabotages() []sabotage {
	attempts := 0
	return []sabotage{
		{
			what:   "no look",
			writer: each(func(sinks.Command, *sinks.Found) bool { return false }),
			red:    []string{"lost_reply_is_looked_for", "shared_parent_is_made_once", "reversal_is_made_once", "late_effect_is_waited_for"},
		},
		{
			what: "a look that failed is none",
			writer: with(broken{find: func(_ context.Context, _ sinks.Command, found []sinks.Found, _ error) ([]sinks.Found, error) {
				return found, nil
			}}),
			red: []string{"only_a_clean_none_is_none", "key_is_not_trusted_after_its_window"},
		},
		{
			what:   "a look without the dead",
			writer: each(func(_ sinks.Command, f *sinks.Found) bool { return f.Live }),
			red:    []string{"ended_by_a_person_is_not_made_again"},
		},
		{
			what: "a look that takes the first",
			writer: with(broken{find: func(_ context.Context, _ sinks.Command, found []sinks.Found, err error) ([]sinks.Found, error) {
				return found[:min(1, len(found))], err
			}}),
			red: []string{"several_matches_stop"},
		},
		{
			what:   "a look whose matches are all of the lane",
			writer: each(func(_ sinks.Command, f *sinks.Found) bool { f.InLane = true; return true }),
			red:    []string{"case_makes_another_id"},
		},
		{
			what:   "a look for our own only",
			writer: each(func(_ sinks.Command, f *sinks.Found) bool { f.InLane = false; return true }),
			red:    []string{"made_by_hand_counts"},
		},
		{
			what: "a look that knows what is there from elsewhere",
			writer: func(s *site, w sinks.Writer) sinks.Writer {
				return broken{Writer: w, find: func(_ context.Context, c sinks.Command, found []sinks.Found, err error) ([]sinks.Found, error) {
					for _, r := range s.Records(fake.Customer) {
						if r.Key == c.ID && len(found) == 0 {
							return []sinks.Found{{ID: r.ID, Key: r.Key, Live: r.Live, Done: true}}, nil
						}
					}
					return found, err
				}}
			},
			red: []string{"login_that_sees_nothing_is_blind"},
		},
		{
			what:   "a look that believes the id",
			writer: each(func(c sinks.Command, f *sinks.Found) bool { f.Key = c.Bears; return true }),
			red:    []string{"other_record_under_a_known_id_is_left_alone"},
		},
		{
			what:   "a look that always says done",
			writer: each(func(_ sinks.Command, f *sinks.Found) bool { f.Done = true; return true }),
			red:    []string{"half_made_document_is_finished", "change_there_and_back_is_three_changes"},
		},
		{
			what:   "a look that never says done",
			writer: each(func(_ sinks.Command, f *sinks.Found) bool { f.Done = false; return true }),
			red:    []string{"activation_is_done_once", "end_is_reached_once", "note_is_added_once"},
		},
		{what: "effects are never late", options: profile(func(p *sinks.Profile) { p.Settle = 0 }), red: []string{"late_effect_is_waited_for"}},
		{what: "the index is never late", options: profile(func(p *sinks.Profile) { p.LookLag = 0 }), red: []string{"lagging_index_is_waited_for"}},
		{what: "failures are not stored", options: keyed(func(k *sinks.Keys) { k.StoresFailures = false }), red: []string{"stored_failure_gets_the_next_key"}},
		{what: "keys are remembered for ever", options: keyed(func(k *sinks.Keys) { k.Window = 1000 * time.Hour }), red: []string{"key_is_not_trusted_after_its_window"}},
		{
			what:   "a key for each attempt",
			writer: with(broken{before: func(r *sinks.Request) { attempts++; r.Key = fmt.Sprint(attempts) }}),
			red:    []string{"one_key_for_all_tries", "key_in_use_is_waited_for"},
		},
		{
			what: "rendered anew at each attempt",
			writer: with(broken{before: func(r *sinks.Request) {
				attempts++
				r.Body = bytes.Replace(r.Body, []byte("{"), fmt.Appendf(nil, `{"note":"%d",`, attempts), 1)
			}}),
			red: []string{"what_was_first_sent_under_a_key_stays"},
		},
		{
			what:   "a connection that is used again",
			writer: reuse,
			red:    []string{"one_intent_is_one_request"},
		},
		{
			what:   "unknown is not executed",
			writer: class(sinks.ClassInDoubt, "", sinks.Outcome{Class: sinks.ClassNotSent}),
			red:    []string{"without_key_and_look_a_person_is_asked", "key_is_not_trusted_after_its_window"},
		},
		{
			what: "every answer is a yes",
			writer: with(broken{classify: func(_ sinks.Command, o sinks.Outcome) sinks.Outcome {
				if o.Class == sinks.ClassInDoubt && strings.HasPrefix(o.Words, "status 200") {
					return sinks.Outcome{Class: sinks.ClassOK, ID: o.Words}
				}
				return o
			}}),
			red: []string{"answer_without_the_record_is_no_answer"},
		},
		{what: "what was not sent is a try", writer: class(sinks.ClassNotSent, "", sinks.Outcome{Class: sinks.ClassInDoubt}), red: []string{"not_sent_is_sent_later"}},
		{what: "throttled is a try", writer: class(sinks.ClassThrottled, "", sinks.Outcome{Class: sinks.ClassInDoubt}), red: []string{"throttled_is_no_try"}},
		{what: "a refused login is a reject", writer: class(sinks.ClassAuth, "", sinks.Outcome{Class: sinks.ClassRejected}), red: []string{"refused_login_is_no_try_and_stops_the_target"}},
		{
			what: "a key in use is a reject",
			writer: with(broken{classify: func(_ sinks.Command, o sinks.Outcome) sinks.Outcome {
				if o.Class == sinks.ClassInDoubt && o.RetryAfter > 0 {
					return sinks.Outcome{Class: sinks.ClassFoundEnded}
				}
				return o
			}}),
			red: []string{"key_in_use_is_waited_for"},
		},
		{
			what:   "a name that exists is found",
			writer: class(sinks.ClassRejected, sinks.ReasonNameTaken, sinks.Outcome{Class: sinks.ClassFound}),
			red:    []string{"name_of_somebody_else_is_no_find"},
		},
		{
			what:   "a key that exists is refused",
			writer: class(sinks.ClassRejected, sinks.ReasonNameTaken, sinks.Outcome{Class: sinks.ClassRejected, Reason: sinks.ReasonRefused}),
			red:    []string{"key_that_exists_and_is_ours_is_found"},
		},
		{
			what:   "a closed period is tried again",
			writer: class(sinks.ClassRejected, sinks.ReasonPeriodClosed, sinks.Outcome{Class: sinks.ClassConflict}),
			red:    []string{"closed_period_is_a_question"},
		},
		{
			what: "who is not in the answer is well", red: []string{"elements_of_a_batch_have_their_own_outcomes"},
			writer: with(broken{classify: func(c sinks.Command, o sinks.Outcome) sinks.Outcome {
				for _, e := range c.Elements {
					if _, ok := o.Elements[e.ID]; !ok && o.Elements != nil {
						o.Elements[e.ID] = sinks.Outcome{Class: sinks.ClassOK}
					}
				}
				return o
			}}),
		},
		{what: "a write without its version", writer: with(broken{before: func(r *sinks.Request) { r.Version = "" }}), red: []string{"stale_version_is_read_anew"}},
		{what: "nobody asks who answers", writer: with(broken{identity: "company-erp/live"}), red: []string{"another_organisation_stops_the_target"}},
		{
			what: "a login for each process", red: []string{"token_that_works_once_is_used_once"},
			options: func(s *site, o *company.Options) {
				if s.tokens == nil {
					return
				}
				p, err := s.tokens.Read()
				renew, err2 := company.RenewTokens(s.Address())
				attempts++
				o.Tokens = httpcall.NewTokens(filepath.Join(s.dir, fmt.Sprint(attempts)), renew)
				if err := errors.Join(err, err2, o.Tokens.Write(p)); err != nil {
					panic(err)
				}
			},
		},
	}
}

// reuse sends with net/http as it comes: connections are kept, bodies can be
// rewound, and the header says that a repeat does no harm.
func reuse(s *site, w sinks.Writer) sinks.Writer {
	client := &http.Client{Transport: &http.Transport{}}
	call := func(ctx context.Context, verb, path, key string, body []byte) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, verb, s.Address()+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		if key != "" {
			req.Header.Set("Idempotency-Key", key)
		}
		return client.Do(req)
	}
	return broken{Writer: w, apply: func(ctx context.Context, r sinks.Request) (sinks.Reply, error) {
		warm, err := call(ctx, http.MethodGet, "/organisation", "", nil)
		if err != nil {
			return sinks.Reply{}, err
		}
		io.Copy(io.Discard, warm.Body)
		warm.Body.Close()
		resp, err := call(ctx, r.Verb, r.Path, r.Key, r.Body)
		if err != nil {
			return sinks.Reply{}, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return sinks.Reply{Status: resp.StatusCode, Header: map[string]string{"content-type": resp.Header.Get("Content-Type")}, Body: body}, err
	}}
}

// TestSuiteNoticesBrokenWriters: every row of the suite is red for a writer that
// gets its case wrong. Without this a row could be green for any writer.
func TestSuiteNoticesBrokenWriters(t *testing.T) {
	rows := map[string]sinktest.Row{}
	for _, r := range sinktest.Rows() {
		rows[r.Name] = r
	}
	missing := maps.Clone(rows)
	for _, s := range sabotages() {
		target := erp()
		target.Open = func(n fake.Nature, clock *sinktest.Clock) (sinktest.Site, error) {
			opened, err := open("erp", n, clock)
			if err == nil {
				opened.breaks = &s
			}
			return opened, err
		}
		for _, name := range s.red {
			r, ok := rows[name]
			if !ok {
				t.Fatalf("%s: no row %s", s.what, name)
			}
			delete(missing, name)
			failures := sinktest.Failures(target, r)
			if len(failures) == 0 {
				t.Errorf("%s: %s does not notice", s.what, name)
			} else {
				t.Logf("%s: %s: %.160s", s.what, name, failures[0])
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		t.Errorf("nothing shows that %s can fail", name)
	}
}

// TestRequestsCanBeStored: a request goes through the state as JSON and comes back
// with the same bytes.
func TestRequestsCanBeStored(t *testing.T) {
	w, err := company.New(company.Options{System: "erp", Address: "http://127.0.0.1:1/erp"})
	if err != nil {
		t.Fatal(err)
	}
	c := sinks.Command{ID: "x", Kind: "customer.create", Values: sinks.Values{"code": "C#1", "name": "<Łódź> & Söhne \u2028"}}
	key := func(call string) string { return "key of " + call }
	r, err := w.Render(c, nil, key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var stored sinks.Request
	if err := json.Unmarshal(b, &stored); err != nil || !bytes.Equal(stored.Body, r.Body) || stored.Key != r.Key {
		t.Errorf("stored %s, rendered %s, %v", stored.Body, r.Body, err)
	}
	if again, err := w.Render(c, nil, key); err != nil || !bytes.Equal(again.Body, r.Body) {
		t.Errorf("rendered again: %s, %v", again.Body, err)
	}
}
