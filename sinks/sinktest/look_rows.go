package sinktest

import (
	"fmt"
	"strings"
	"time"

	"syncline/sinks"
	"syncline/sinks/sinktest/fake"
)

// lookRows: looking before acting.
func lookRows() []Row {
	return []Row{
		{"lagging_index_is_waited_for", lag},
		{"only_a_clean_none_is_none", cleanNone},
		{"login_that_sees_nothing_is_blind", blindLogin},
		{"several_matches_stop", several},
		{"case_makes_another_id", foldedCase},
		{"name_of_somebody_else_is_no_find", somebodyElse},
		{"key_that_exists_and_is_ours_is_found", oursExists},
		{"made_by_hand_counts", byHand},
		{"ended_by_a_person_is_not_made_again", endedByPerson},
	}
}

func lag(t *trial) {
	const late = 45 * time.Second
	for _, kind := range []fake.Kind{fake.LostReply, fake.Dropped} {
		t.open(string(kind), fake.Nature{LookLag: late, Limit: time.Second})
		t.site.Misbehave(fake.Writes, fake.Fault{Kind: kind})
		p := t.customer("C#1", "Alba")
		t.run(p)
		equal(t, "effects", t.site.Counts().Effects, 1)
		if kind == fake.LostReply {
			t.ends(p, sinks.ClassFound)
			t.counts(1, 1)
		}
		if t.d.sentBefore(late, 1) {
			t.fail("sent again while the index could not know: %v", t.d.sends)
		}
	}
}

func cleanNone(t *trial) {
	broken := []fake.Fault{
		{Kind: fake.Failed, Status: 500},
		{Kind: fake.Silent},
		{Kind: fake.HTML},
		{Kind: fake.ErrorBody},
		{Kind: fake.MorePages},
		{Kind: fake.Unauthorized},
		{Kind: fake.Message},
		{Kind: fake.Drops},
		{Kind: fake.DuplicateKeys},
		{Kind: fake.Gzip},
		{Kind: fake.Huge},
		{Kind: fake.Redirect},
		{Kind: fake.LostReply},
		{Kind: fake.Throttled, RetryAfter: time.Second},
	}
	for _, doubt := range []bool{false, true} {
		for _, f := range broken {
			t.open(fmt.Sprintf("%s, in doubt %v", f.Kind, doubt), fake.Nature{})
			p := t.customer("C#1", "Alba")
			requests := 0
			if doubt {
				t.site.Misbehave(fake.Writes, fake.Fault{Kind: fake.Dropped})
				requests = 1
				t.until(p, func() bool { return p.Doubt && p.Last.Class != "" })
			}
			looks := t.site.Counts().Looks
			t.site.Misbehave(fake.Looks, f, f)
			t.until(p, func() bool { return t.site.Counts().Looks >= looks+2 })
			if c := t.site.Counts(); c.Requests != requests {
				t.fail("after %d such looks %d requests, want %d", c.Looks-looks, c.Requests, requests)
			}
			t.run(p)
			t.ends(p, sinks.ClassOK)
			t.counts(requests+1, 1)
			equal(t, "requests that followed", t.site.Counts().Elsewhere, 0)
		}
	}
}

// blindLogin: a well-formed list of nothing, from a target that has the record.
func blindLogin(t *trial) {
	t.open("", fake.Nature{})
	known := t.customer("C#9", "Vela")
	id := t.site.Plant(fake.Record{Sort: fake.Customer, Key: known.Command.ID, Code: "C#9", Live: true})
	t.d.probe = &sinks.Probe{Command: known.Command, ID: id}
	none := fake.Fault{Kind: fake.Empty}
	// Each look asks by key and by code, and then for what is known.
	t.site.Misbehave(fake.Looks, none, none, none, none, none, none, none, none)
	p := t.customer("C#1", "Alba")
	for range 2 {
		t.step(p)
		t.step(p)
	}
	equal(t, "requests while it shows nothing", t.site.Counts().Requests, 0)
	t.run(p)
	t.ends(p, sinks.ClassOK)
	t.counts(1, 1)
}

func several(t *trial) {
	t.open("", fake.Nature{})
	p := t.customer("C#1", "Alba")
	one := t.site.Plant(fake.Record{Sort: fake.Customer, Key: p.Command.ID, Live: true})
	two := t.site.Plant(fake.Record{Sort: fake.Customer, Key: p.Command.ID, Live: true})
	t.run(p)
	t.asks(p, sinks.AskSeveral)
	t.counts(0, 0)
	equal(t, "named", strings.Join(p.Last.Others, " "), one+" "+two)
}

func foldedCase(t *trial) {
	for _, unique := range []bool{false, true} {
		t.open(fmt.Sprintf("unique %v", unique), fake.Nature{FoldsCase: true, Unique: unique})
		small, large := t.customer("ab-1", "Small"), t.customer("AB-1", "Large")
		if small.Command.ID == large.Command.ID {
			t.fail("two lanes have one id")
		}
		t.run(small)
		t.ends(small, sinks.ClassOK)
		t.run(large)
		effects := t.site.Counts().Effects
		if effects == 1 {
			t.asks(large, sinks.ReasonNameTaken)
		} else {
			t.ends(large, sinks.ClassOK)
			equal(t, "effects", effects, 2)
		}
		if first := t.site.Records(fake.Customer)[0]; first.Name != "Small" || first.Version != 1 {
			t.fail("the first record is now %+v", first)
		}
	}
}

// somebodyElse has the name: an inactive vendor, whom no customer needs to know.
func somebodyElse(t *trial) {
	t.open("", fake.Nature{})
	vendor := t.site.Plant(fake.Record{Sort: "vendor", Name: "Alba"})
	p := t.customer("C#1", "Alba")
	t.run(p)
	t.asks(p, sinks.ReasonNameTaken)
	t.counts(1, 0)
	if !strings.Contains(p.Last.Words, vendor) {
		t.fail("the words do not say who holds it: %q", p.Last.Words)
	}
	if !p.Replace(sinks.Values{"code": "C#1", "name": "Alba (customer)"}) {
		t.fail("another name is not taken")
	}
	t.run(p)
	t.ends(p, sinks.ClassOK)
	t.counts(2, 1)
}

// oursExists: the state is lost, and the target's unique key tells.
func oursExists(t *trial) {
	t.open("", fake.Nature{Unique: true})
	p := t.customer("C#1", "Alba")
	id := t.site.Plant(fake.Record{Sort: fake.Customer, Key: p.Command.ID, Code: "C#1", Name: "Alba", Live: true})
	t.run(p)
	t.ends(p, sinks.ClassFound)
	t.counts(1, 0)
	if p.Final != nil {
		equal(t, "record", p.Final.ID, id)
	}
}

// byHand: a person has made the customer, who knows nothing of our keys.
func byHand(t *trial) {
	t.open("", fake.Nature{})
	id := t.site.Plant(fake.Record{Sort: fake.Customer, Code: "C#1", Name: "Alba, by hand", Live: true})
	p := t.customer("C#1", "Alba")
	t.run(p)
	t.ends(p, sinks.ClassFound)
	t.counts(0, 0)
	if p.Final != nil {
		equal(t, "record", p.Final.ID, id)
	}
	t.site.Plant(fake.Record{Sort: fake.Customer, Code: "C#1", Name: "Alba, again", Live: true})
	again := t.customer("C#1", "Alba")
	t.run(again)
	t.asks(again, sinks.AskSeveral)
	t.counts(0, 0)
}

// endedByPerson: what was made and has ended is not to be made, and its successor
// is another wish.
func endedByPerson(t *trial) {
	for _, kind := range []string{t.target.Kinds.Customer, t.target.Kinds.Document} {
		if kind == "" {
			continue // half_made_document_is_finished says why
		}
		t.open(kind, fake.Nature{})
		wanted := func() *sinks.Progress {
			if kind == t.target.Kinds.Customer {
				return t.customer("C#1", "Alba")
			}
			return t.document()
		}
		first := wanted()
		t.run(first)
		t.ends(first, sinks.ClassOK)
		if first.Final == nil {
			continue
		}
		requests := t.site.Counts().Requests
		if err := t.site.Edit(first.Final.ID, func(r *fake.Record) { r.Live = false }); err != nil {
			t.fail("%v", err)
		}
		for range 2 { // told again, and with the state lost
			again := wanted()
			t.run(again)
			t.ends(again, sinks.ClassFoundEnded)
			equal(t, "requests", t.site.Counts().Requests, requests)
			if again.Final != nil {
				equal(t, "record", again.Final.ID, first.Final.ID)
			}
		}
		successor := wanted()
		successor.Command.Predecessor = first.Final.ID
		successor.Command.ID = t.wish(kind, successor.Command.Lane).Create(first.Final.ID)
		t.run(successor)
		t.ends(successor, sinks.ClassOK)
		if successor.Final != nil && successor.Final.ID == first.Final.ID {
			t.fail("the dead record was taken for its successor")
		}
	}
}
