package sinktest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"syncline/sinks"
	"syncline/sinks/sinktest/fake"
)

// replyRows: answers that are lost, late, or say something else.
func replyRows() []Row {
	return []Row{
		{"lost_reply_is_looked_for", lostReply},
		{"answer_without_the_record_is_no_answer", strangeAnswers},
		{"late_effect_is_waited_for", lateEffect},
		{"one_intent_is_one_request", oneRequest},
		{"not_sent_is_sent_later", notSent},
		{"without_key_and_look_a_person_is_asked", noGuarantee},
		{"half_made_document_is_finished", halfMade},
		{"reversal_is_made_once", reversal},
	}
}

func lostReply(t *trial) {
	for _, unique := range []bool{false, true} {
		t.open(fmt.Sprintf("unique %v", unique), fake.Nature{Unique: unique})
		t.site.Misbehave(fake.Writes, fake.Fault{Kind: fake.LostReply})
		p := t.customer("C#1", "Alba")
		t.run(p)
		t.ends(p, sinks.ClassFound)
		t.counts(1, 1)
		if t.site.Counts().Looks == 0 {
			t.fail("nobody looked")
		}
		// Once more from nothing, as if the state was lost.
		again := t.customer("C#1", "Alba")
		t.run(again)
		t.ends(again, sinks.ClassFound)
		equal(t, "effects", t.site.Counts().Effects, 1)
	}
}

func strangeAnswers(t *trial) {
	for _, kind := range []fake.Kind{
		fake.Message, fake.WrongID, fake.HTML, fake.ErrorBody, fake.Empty, fake.Huge, fake.Gzip, fake.Drops, fake.DuplicateKeys, fake.FailedActed,
	} {
		t.open(string(kind), fake.Nature{})
		t.site.Misbehave(fake.Writes, fake.Fault{Kind: kind})
		p := t.customer("C#1", "Alba")
		t.step(p) // the look before
		t.step(p)
		if p.Final != nil || !p.Doubt || p.Last.ID != "" {
			t.fail("taken for an answer: %+v", p.Last)
		}
		t.run(p)
		t.ends(p, sinks.ClassFound)
		t.counts(1, 1)
	}
	t.open("redirect to another host", fake.Nature{})
	t.site.Misbehave(fake.Writes, fake.Fault{Kind: fake.Redirect})
	p := t.customer("C#1", "Alba")
	t.run(p)
	t.ends(p, sinks.ClassOK)
	t.counts(2, 1)
	equal(t, "requests that followed", t.site.Counts().Elsewhere, 0)
	for _, texts := range []bool{false, true} {
		t.open(fmt.Sprintf("ids as texts %v", texts), fake.Nature{TextIDs: texts})
		p := t.customer("C#1", "Alba")
		t.run(p)
		t.ends(p, sinks.ClassOK)
		t.counts(1, 1)
	}
}

// step does one act.
func (t *trial) step(p *sinks.Progress) {
	if _, err := t.d.step(p); err != nil {
		t.fail("%v", err)
	}
}

// until steps to a state, and fails if it is not reached.
func (t *trial) until(p *sinks.Progress, state func() bool) {
	for range 40 {
		if state() {
			return
		}
		t.step(p)
	}
	t.fail("the state is not reached: %+v", p)
}

func lateEffect(t *trial) {
	for _, looks := range []bool{true, false} {
		n := fake.Nature{Limit: 30 * time.Second, Settle: 300 * time.Second, Blind: !looks}
		if !looks {
			n.Keys = &sinks.Keys{Header: "Idempotency-Key", Window: 24 * time.Hour}
		}
		t.open(fmt.Sprintf("looks %v", looks), n)
		t.site.Misbehave(fake.Writes, fake.Fault{Kind: fake.Late, After: 240 * time.Second})
		p := t.customer("C#1", "Alba")
		began := t.clock.Now()
		t.run(p)
		t.ends(p, sinks.ClassFound)
		equal(t, "effects", t.site.Counts().Effects, 1)
		if looks {
			equal(t, "requests", t.site.Counts().Requests, 1)
		}
		for i, at := range t.site.Counts().LookedAt {
			if since := at.Sub(began); since > 0 && since < 330*time.Second {
				t.fail("look %d after %v could take the effect for absent", i, since)
			}
		}
		if t.d.sentBefore(330*time.Second, 1) {
			t.fail("sent again after %v", t.d.sends)
		}
	}
}

func oneRequest(t *trial) {
	for _, body := range []bool{true, false} {
		t.open(fmt.Sprintf("values %v", body), fake.Nature{Keys: &sinks.Keys{Header: "Idempotency-Key", Window: time.Hour}, IgnoresKeys: true})
		id := t.site.Plant(fake.Record{Sort: fake.Document, Key: "k", Live: true})
		for n := range 4 { // connections that could be used again
			t.run(t.change(t.target.Kinds.Activate, id, "other", nil, fmt.Sprint(n)))
		}
		t.site.Misbehave(fake.Writes, fake.Fault{Kind: fake.LostReply})
		p := t.customer("C#1", "Alba")
		if !body {
			p = t.change(t.target.Kinds.Activate, id, "k", nil, "1")
		}
		t.run(p)
		t.ends(p, sinks.ClassFound)
		t.counts(1, 1)
	}
}

func notSent(t *trial) {
	t.open("", fake.Nature{Blind: true})
	refusals := 0
	t.d.permit = func() error {
		if refusals++; refusals <= 20 {
			return errors.New("the lease is over")
		}
		return nil
	}
	p := t.customer("C#1", "Alba")
	t.run(p)
	t.ends(p, sinks.ClassOK)
	t.counts(1, 1)
}

func noGuarantee(t *trial) {
	for _, killed := range []bool{false, true} {
		for _, kind := range []fake.Kind{fake.LostReply, fake.Dropped} {
			t.open(fmt.Sprintf("%s, killed %v", kind, killed), fake.Nature{Blind: true})
			t.site.Misbehave(fake.Writes, fake.Fault{Kind: kind})
			p := t.customer("C#1", "Alba")
			if killed {
				t.d.kill = func(n int) bool { return n == 1 }
			}
			t.run(p)
			t.asks(p, sinks.AskInDoubt)
			t.clock.Advance(48 * time.Hour)
			t.run(p)
			equal(t, "requests", t.site.Counts().Requests, 1)
			if kind == fake.Dropped { // a person has looked, and it is not there
				profile, _ := t.d.w.Profile(p.Command.Kind)
				p.NotThere(profile)
				t.run(p)
				t.ends(p, sinks.ClassOK)
				t.counts(2, 1)
				continue
			}
			for _, r := range t.site.Records(fake.Customer) {
				p.Link(r.ID)
			}
			t.run(p)
			t.ends(p, sinks.ClassFound)
			t.counts(1, 1)
		}
	}
}

// halfMade: the answer of each call is lost, or the process dies with it.
func halfMade(t *trial) {
	t.open("", fake.Nature{})
	whole := t.document()
	t.run(whole)
	t.ends(whole, sinks.ClassOK)
	calls := t.site.Counts().Requests
	t.isWhole()
	for n := 1; n <= calls; n++ {
		for _, kill := range []bool{false, true} {
			for _, kind := range []fake.Kind{fake.LostReply, fake.Dropped} {
				t.open(fmt.Sprintf("call %d of %d, %s, killed %v", n, calls, kind, kill), fake.Nature{})
				t.site.Misbehave(fake.Writes, append(make([]fake.Fault, n-1), fake.Fault{Kind: kind})...)
				if kill {
					t.d.kill = func(call int) bool { return call == n }
				}
				p := t.document()
				t.run(p)
				t.ends(p, sinks.ClassOK, sinks.ClassFound)
				t.isWhole()
			}
		}
	}
}

func (t *trial) isWhole() {
	documents := t.site.Records(fake.Document)
	if len(documents) != 1 {
		t.fail("%d documents", len(documents))
		return
	}
	d := documents[0]
	var got []string
	for _, l := range d.Lines {
		got = append(got, l.Product+" "+l.Quantity+" × "+l.Price)
	}
	equal(t, "lines", strings.Join(got, ", "), "SEAT-S 3 × 9.50, CARE 1 × 30, SEAT-S 2 × 1.50")
	if !d.Active || d.Activations != 1 || !d.Live || d.Code != "SO-1" {
		t.fail("the document is %+v", d)
	}
}

func reversal(t *trial) {
	if t.target.Kinds.Reverse == "" {
		t.fail("the target has no kind of reversal, and does not say why")
		return
	}
	t.open("", fake.Nature{})
	whole := t.document()
	t.run(whole)
	t.ends(whole, sinks.ClassOK)
	effects := t.site.Counts().Effects
	t.site.Misbehave(fake.Writes, fake.Fault{Kind: fake.LostReply})
	of := whole.Final.ID
	kind := t.target.Kinds.Reverse
	for range 2 { // and once more from nothing
		p := &sinks.Progress{Command: sinks.Command{ID: t.wish(kind, "order/SO-1").Reversal(of), Kind: kind, Lane: "order/SO-1", Values: sinks.Values{"of": of}}}
		t.run(p)
		t.ends(p, sinks.ClassFound)
	}
	equal(t, "effects", t.site.Counts().Effects-effects, 1)
	reversals := 0
	for _, r := range t.site.Records(fake.Document) {
		if r.Of == of && len(r.Lines) == 3 && r.Lines[0].Quantity == "-3" {
			reversals++
		}
	}
	equal(t, "reversals", reversals, 1)
}
