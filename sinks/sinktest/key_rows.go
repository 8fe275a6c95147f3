package sinktest

import (
	"fmt"
	"slices"
	"time"

	"syncline/sinks"
	"syncline/sinks/sinktest/fake"
)

// keyRows: the vendor's store of idempotency keys.
func keyRows() []Row {
	return []Row{
		{"what_was_first_sent_under_a_key_stays", firstContent},
		{"stored_failure_gets_the_next_key", storedFailure},
		{"key_in_use_is_waited_for", keyInUse},
		{"one_key_for_all_tries", oneKey},
		{"key_is_not_trusted_after_its_window", windowOver},
	}
}

func store(window time.Duration, failures bool) *sinks.Keys {
	return &sinks.Keys{Header: "Idempotency-Key", Window: window, StoresFailures: failures}
}

// firstContent: the name changes while the first request is in doubt.
func firstContent(t *trial) {
	for _, kind := range []fake.Kind{fake.LostReply, fake.Dropped} {
		for _, blind := range []bool{false, true} {
			for _, mismatch := range []int{400, 409} {
				t.open(fmt.Sprintf("%s, blind %v, mismatch %d", kind, blind, mismatch), fake.Nature{Keys: store(24*time.Hour, false), Blind: blind, Mismatch: mismatch})
				t.site.Misbehave(fake.Writes, fake.Fault{Kind: kind})
				p := t.customer("C#1", "Alba")
				t.until(p, func() bool { return p.Doubt })
				if p.Replace(sinks.Values{"code": "C#1", "name": "Alba Foods"}) {
					t.fail("the request was replaced in doubt")
				}
				if blind {
					// A mapping that changed meanwhile renders something else; what was sent stays.
					p.Command.Values = sinks.Values{"code": "C#1", "name": "Alba Foods"}
				}
				if err := t.d.restart(p); err != nil {
					t.fail("%v", err)
				}
				t.run(p)
				t.ends(p, sinks.ClassOK, sinks.ClassFound)
				equal(t, "mismatches", t.site.Counts().Mismatches, 0)
				books := t.site.Records(fake.Customer)
				if len(books) != 1 || books[0].Name != "Alba" {
					t.fail("the books have %+v", books)
				}
				if p.Final == nil || blind {
					continue // a change begins with a look
				}
				rename := t.change(t.target.Kinds.Rename, p.Final.ID, p.Command.ID, sinks.Values{"name": "Alba Foods"}, "7")
				t.run(rename)
				t.ends(rename, sinks.ClassOK)
				equal(t, "name", t.site.Records(fake.Customer)[0].Name, "Alba Foods")
				equal(t, "customers", len(t.site.Records(fake.Customer)), 1)
			}
		}
	}
}

func storedFailure(t *trial) {
	for _, v := range []struct {
		about  string
		stores bool
		kind   fake.Kind
		keys   int
	}{
		{"stored, nothing made", true, fake.Failed, 2},
		{"stored, but made", true, fake.FailedActed, 1},
		{"not stored, nothing made", false, fake.Failed, 1},
	} {
		t.open(v.about, fake.Nature{Keys: store(24*time.Hour, v.stores)})
		t.site.Misbehave(fake.Writes, fake.Fault{Kind: v.kind})
		p := t.customer("C#1", "Alba")
		t.run(p)
		t.ends(p, sinks.ClassOK, sinks.ClassFound)
		equal(t, "effects", t.site.Counts().Effects, 1)
		equal(t, "keys", t.site.Counts().Keys, v.keys)
	}
}

// keyInUse: the first request runs for longer than its caller waits.
func keyInUse(t *trial) {
	t.open("", fake.Nature{Keys: store(time.Hour, false), Blind: true, Limit: 10 * time.Second})
	t.site.Misbehave(fake.Writes, fake.Fault{Kind: fake.Late, After: 20 * time.Second})
	p := t.customer("C#1", "Alba")
	t.run(p)
	t.ends(p, sinks.ClassFound)
	equal(t, "effects", t.site.Counts().Effects, 1)
	equal(t, "keys", t.site.Counts().Keys, 1)
	if n := t.site.Counts().Requests; n < 3 {
		t.fail("%d requests: the answer that the key is in use was not seen", n)
	}
}

func oneKey(t *trial) {
	t.open("", fake.Nature{Keys: store(24*time.Hour, false)})
	t.site.Misbehave(fake.Writes, fake.Fault{Kind: fake.Throttled, RetryAfter: time.Second},
		fake.Fault{Kind: fake.Failed, Status: 503}, fake.Fault{Kind: fake.Failed, Status: 502}, fake.Fault{Kind: fake.Dropped})
	p := t.customer("C#1", "Alba")
	t.run(p)
	t.ends(p, sinks.ClassOK)
	t.counts(5, 1)
	equal(t, "keys", t.site.Counts().Keys, 1)
}

// windowOver: the answer is lost, and the target down for longer than it remembers
// keys.
func windowOver(t *trial) {
	for window, down := range map[time.Duration]time.Duration{24 * time.Hour: 25 * time.Hour, time.Hour: 61 * time.Minute, 30 * time.Minute: 31 * time.Minute} {
		for _, blind := range []bool{false, true} {
			t.open(fmt.Sprintf("window %v, blind %v", window, blind), fake.Nature{Keys: store(window, false), Blind: blind})
			t.site.Misbehave(fake.Writes, fake.Fault{Kind: fake.LostReply})
			p := t.customer("C#1", "Alba")
			t.until(p, func() bool { return p.Doubt })
			t.step(p)
			t.clock.Advance(down)
			looks := t.site.Counts().Looks
			t.site.Misbehave(fake.Looks, slices.Repeat([]fake.Fault{{Kind: fake.Failed, Status: 503}}, 3)...)
			t.run(p)
			t.counts(1, 1)
			if blind {
				t.asks(p, sinks.AskInDoubt)
				continue
			}
			t.ends(p, sinks.ClassFound)
			if t.site.Counts().Looks < looks+4 {
				t.fail("%d looks", t.site.Counts().Looks-looks)
			}
		}
	}
}
