package sinks_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"syncline/sinks"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// renderer renders a command's values and nothing else.
type renderer struct{ sinks.Writer }

func (renderer) Render(c sinks.Command, _ *sinks.Found, key func(string) string) (sinks.Request, error) {
	body, err := json.Marshal(c.Values)
	return sinks.Request{Call: "make", Key: key("make"), Body: body}, err
}

func begun(t *testing.T, p *sinks.Progress, do sinks.Do, now time.Duration) sinks.Request {
	t.Helper()
	r, err := p.Begin(renderer{}, do, now, noon.Add(now))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func want(t *testing.T, p *sinks.Progress, profile sinks.Profile, now time.Duration, want sinks.Act) {
	t.Helper()
	if got := p.Next(profile, now, noon.Add(now)); got != want {
		t.Fatalf("at %v: %+v, want %+v", now, got, want)
	}
}

var (
	looks = sinks.Profile{Looks: true, LookLag: 45 * time.Second, Limit: 30 * time.Second, Settle: 5 * time.Minute, Attempts: 3}
	keys  = sinks.Profile{Keys: &sinks.Keys{Window: time.Hour, StoresFailures: true}, Limit: 10 * time.Second, Attempts: 3}
)

// TestDoubtWaitsForLimitSettleAndLag: only then a look may say that nothing is there.
func TestDoubtWaitsForLimitSettleAndLag(t *testing.T) {
	p := &sinks.Progress{Command: sinks.Command{ID: "x"}}
	want(t, p, looks, 0, sinks.Act{Do: sinks.DoLook})
	p.Looked(looks, nil, nil, 0)
	want(t, p, looks, 0, sinks.Act{Do: sinks.DoSend})
	begun(t, p, sinks.DoSend, 0)
	due := 30*time.Second + 5*time.Minute + 45*time.Second
	want(t, p, looks, time.Second, sinks.Act{Do: sinks.DoWait, Until: due})
	p.Returned(looks, sinks.Outcome{}, 2*time.Second) // a class that nobody knows
	want(t, p, looks, due-1, sinks.Act{Do: sinks.DoWait, Until: due})
	want(t, p, looks, due, sinks.Act{Do: sinks.DoLook})
	p.Looked(looks, nil, errors.New("cut"), due)
	if a := p.Next(looks, due, noon); a.Do != sinks.DoWait {
		t.Fatalf("a look that failed was taken for none: %+v", a)
	}
	p.Looked(looks, nil, nil, due+time.Second)
	want(t, p, looks, due+time.Second, sinks.Act{Do: sinks.DoSend})
}

// TestRestoredDoubtWaitsAnew: the monotonic clock of a former process says nothing.
func TestRestoredDoubtWaitsAnew(t *testing.T) {
	p := &sinks.Progress{Command: sinks.Command{ID: "x"}}
	begun(t, p, sinks.DoSend, time.Hour)
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	restored := &sinks.Progress{}
	if err := json.Unmarshal(b, restored); err != nil {
		t.Fatal(err)
	}
	restored.Restore(time.Second)
	want(t, restored, looks, time.Second, sinks.Act{Do: sinks.DoWait, Until: time.Second + looks.Limit + looks.Settle + looks.LookLag})
}

// TestResendOnlyWithinHalfTheWindow: by the wall clock, which may have been set back.
func TestResendOnlyWithinHalfTheWindow(t *testing.T) {
	p := &sinks.Progress{Command: sinks.Command{ID: "x"}}
	first := begun(t, p, sinks.DoSend, 0)
	p.Returned(keys, sinks.Outcome{Class: sinks.ClassInDoubt}, 0)
	want(t, p, keys, 10*time.Second, sinks.Act{Do: sinks.DoResend})
	if again := begun(t, p, sinks.DoResend, 10*time.Second); again.Key != first.Key || string(again.Body) != string(first.Body) {
		t.Fatalf("sent again: %+v, first %+v", again, first)
	}
	p.Returned(keys, sinks.Outcome{Class: sinks.ClassInDoubt}, 0)
	ask := sinks.Act{Do: sinks.DoAsk, Reason: sinks.AskInDoubt}
	want(t, p, keys, 31*time.Minute, ask)
	if got := p.Next(keys, 25*time.Second, noon.Add(-time.Hour)); got != ask {
		t.Errorf("with the clock set back: %+v", got)
	}
	p.Withdraw()
	want(t, p, keys, 25*time.Second, ask) // nobody wants it: never the same bytes
}

// TestNotExecutedIsNoTryButKeepsAnOlderDoubt: a resend that was throttled says
// nothing about the request before it.
func TestNotExecutedIsNoTryButKeepsAnOlderDoubt(t *testing.T) {
	for _, class := range []sinks.Class{sinks.ClassThrottled, sinks.ClassNotSent, sinks.ClassAuth} {
		p := &sinks.Progress{Command: sinks.Command{ID: "x"}}
		for i := range 10 {
			now := time.Duration(i) * time.Minute
			want(t, p, keys, now, sinks.Act{Do: sinks.DoSend})
			begun(t, p, sinks.DoSend, now)
			p.Returned(keys, sinks.Outcome{Class: class, RetryAfter: 7 * time.Second}, now)
			want(t, p, keys, now, sinks.Act{Do: sinks.DoWait, Until: now + 7*time.Second})
		}
		begun(t, p, sinks.DoSend, time.Hour)
		p.Returned(keys, sinks.Outcome{Class: sinks.ClassInDoubt}, time.Hour)
		begun(t, p, sinks.DoResend, time.Hour+time.Minute)
		p.Returned(keys, sinks.Outcome{Class: class}, time.Hour+time.Minute)
		if !p.Doubt {
			t.Errorf("%s: the older request is forgotten", class)
		}
	}
}

// TestKeysAreGivenUp only after a look says none and the vendor stores failures,
// or where the content is another, and never in doubt.
func TestKeysAreGivenUp(t *testing.T) {
	profile := keys
	profile.Looks = true
	p := &sinks.Progress{Command: sinks.Command{ID: "x", Values: sinks.Values{"name": "a"}}}
	first := begun(t, p, sinks.DoSend, 0)
	if p.Replace(sinks.Values{"name": "b"}) {
		t.Fatal("replaced in doubt")
	}
	p.Returned(profile, sinks.Outcome{Class: sinks.ClassInDoubt}, 0)
	p.Looked(profile, nil, nil, time.Minute)
	second := begun(t, p, sinks.DoSend, time.Minute)
	if second.Key == first.Key {
		t.Error("the key of a stored failure was used again")
	}
	p.Returned(profile, sinks.Outcome{Class: sinks.ClassRejected, Reason: sinks.ReasonCurrency}, time.Minute)
	want(t, p, profile, time.Hour, sinks.Act{Do: sinks.DoAsk, Reason: sinks.ReasonCurrency})
	if !p.Replace(sinks.Values{"name": "b"}) {
		t.Fatal("a corrected request was refused")
	}
	if third := begun(t, p, sinks.DoSend, time.Hour); third.Key == second.Key {
		t.Error("another content under the same key")
	}
}

// TestNobodyWantsIt: a look only, and what was begun is named.
func TestNobodyWantsIt(t *testing.T) {
	p := &sinks.Progress{Command: sinks.Command{ID: "x"}}
	begun(t, p, sinks.DoSend, 0)
	p.Withdraw()
	want(t, p, looks, time.Hour, sinks.Act{Do: sinks.DoLook})
	p.Looked(looks, []sinks.Found{{ID: "7", Key: "x", Live: true, Parts: []string{"make"}}}, nil, time.Hour)
	if p.Final == nil || p.Final.Class != sinks.ClassWithdrawn || p.Final.ID != "7" {
		t.Errorf("ended as %+v", p.Final)
	}
	for _, class := range []sinks.Class{sinks.ClassThrottled, sinks.ClassNotSent, sinks.ClassAuth, sinks.ClassConflict, sinks.ClassRejected} {
		p := &sinks.Progress{Command: sinks.Command{ID: "x"}}
		begun(t, p, sinks.DoSend, 0)
		p.Withdraw()
		p.Returned(looks, sinks.Outcome{Class: class}, time.Second)
		if p.Final == nil || p.Final.Class != sinks.ClassWithdrawn {
			t.Errorf("%s, not executed and not wanted: %+v", class, p.Next(looks, time.Hour, noon))
		}
	}
}

// TestTheFeedSettlesEverything: what it shows ends a command in every state, and a
// late answer changes nothing.
func TestTheFeedSettlesEverything(t *testing.T) {
	p := &sinks.Progress{Command: sinks.Command{ID: "x"}}
	begun(t, p, sinks.DoSend, 0)
	p.Seen("7")
	p.Returned(looks, sinks.Outcome{Class: sinks.ClassRejected, Reason: "late"}, time.Second)
	if p.Final == nil || p.Final.ID != "7" || p.Next(looks, time.Second, noon).Do != sinks.DoEnd {
		t.Errorf("%+v", p)
	}
	parked := &sinks.Progress{Command: sinks.Command{ID: "x"}, Question: sinks.AskInDoubt, Doubt: true}
	parked.Seen("7")
	want(t, parked, looks, 0, sinks.Act{Do: sinks.DoEnd})
}

// TestJudge: what a look means.
func TestJudge(t *testing.T) {
	create := sinks.Command{ID: "k", Predecessor: "1"}
	change := sinks.Command{ID: "k", NativeID: "7", Bears: "mine"}
	for _, c := range []struct {
		what    string
		command sinks.Command
		found   []sinks.Found
		class   sinks.Class // "" : none
		id      string      // of the outcome, or of the record to go on from
	}{
		{"nothing", create, nil, "", ""},
		{"ours", create, []sinks.Found{{ID: "7", Key: "k", Live: true, Done: true}}, sinks.ClassFound, "7"},
		{"ours in part", create, []sinks.Found{{ID: "7", Key: "k", Live: true}}, "", "7"},
		{"ours, ended", create, []sinks.Found{{ID: "7", Key: "k", Done: true}}, sinks.ClassFoundEnded, "7"},
		{"ours twice", create, []sinks.Found{{ID: "7", Key: "k", Live: true}, {ID: "8", Key: "k", Live: true}}, sinks.ClassSeveral, ""},
		{"ours ended, and one by hand", create, []sinks.Found{{ID: "7", Key: "k"}, {ID: "8", InLane: true, Live: true}}, sinks.ClassFound, "8"},
		{"another key", create, []sinks.Found{{ID: "7", Key: "K", Live: true, Done: true}}, "", ""},
		{"the lane's, by hand", create, []sinks.Found{{ID: "7", InLane: true, Live: true, Done: true}}, sinks.ClassFound, "7"},
		{"the predecessor", create, []sinks.Found{{ID: "1", InLane: true, Live: true}}, "", ""},
		{"by hand and ours", create, []sinks.Found{{ID: "6", InLane: true, Live: true}, {ID: "7", Key: "k", Live: true, Done: true}}, sinks.ClassSeveral, ""},
		{"the record", change, []sinks.Found{{ID: "7", Key: "mine", Live: true}}, "", "7"},
		{"as wanted", change, []sinks.Found{{ID: "7", Key: "mine", Live: true, Done: true}}, sinks.ClassFound, "7"},
		{"another record", change, []sinks.Found{{ID: "7", Key: "theirs", Live: true, Done: true}}, sinks.ClassRejected, "7"},
		{"gone", change, nil, sinks.ClassRejected, "7"},
		{"ended", change, []sinks.Found{{ID: "7", Key: "mine"}}, sinks.ClassFoundEnded, "7"},
	} {
		o, at := sinks.Judge(c.command, c.found)
		var class sinks.Class
		id := ""
		if at != nil {
			id = at.ID
		}
		if o != nil {
			class, id = o.Class, o.ID
		}
		if class != c.class || id != c.id || o != nil && at != nil {
			t.Errorf("%s: %q %q, want %q %q", c.what, class, id, c.class, c.id)
		}
	}
}

// blindWriter shows nothing, or fails.
type blindWriter struct {
	sinks.Writer
	shows map[string][]sinks.Found
	err   error
}

func (w blindWriter) Find(_ context.Context, c sinks.Command) ([]sinks.Found, error) {
	return w.shows[c.ID], w.err
}

func TestLookProbesBeforeItBelievesNone(t *testing.T) {
	probe := &sinks.Probe{Command: sinks.Command{ID: "known"}, ID: "1"}
	wanted := sinks.Command{ID: "x"}
	if _, err := sinks.Look(t.Context(), blindWriter{}, wanted, probe); !errors.Is(err, sinks.ErrBlind) {
		t.Errorf("a login that sees nothing: %v", err)
	}
	seeing := blindWriter{shows: map[string][]sinks.Found{"known": {{ID: "1"}}}}
	if found, err := sinks.Look(t.Context(), seeing, wanted, probe); err != nil || len(found) != 0 {
		t.Errorf("a clean none: %v, %v", found, err)
	}
	if _, err := sinks.Look(t.Context(), blindWriter{err: sinks.ErrUnclear}, wanted, nil); !errors.Is(err, sinks.ErrUnclear) {
		t.Errorf("an error: %v", err)
	}
}
