package sinktest

import (
	"fmt"
	"time"

	"syncline/sinks"
	"syncline/sinks/sinktest/fake"
)

// recordRows: changes of records, parents, batches.
func recordRows() []Row {
	return []Row{
		{"stale_version_is_read_anew", staleVersion},
		{"change_there_and_back_is_three_changes", thereAndBack},
		{"other_record_under_a_known_id_is_left_alone", otherRecord},
		{"activation_is_done_once", activation},
		{"end_is_reached_once", ending},
		{"note_is_added_once", note},
		{"shared_parent_is_made_once", sharedParent},
		{"closed_period_is_a_question", closedPeriod},
		{"elements_of_a_batch_have_their_own_outcomes", batch},
	}
}

// staleVersion: lists show versions of before, and a person changes the record
// between our read and our write.
func staleVersion(t *trial) {
	t.open("", fake.Nature{StaleVersions: true})
	id := t.site.Plant(fake.Record{Sort: fake.Customer, Key: "k", Name: "Alba", Live: true, Version: 5})
	edits := 0
	t.d.before = func() {
		if edits++; edits == 1 {
			if err := t.site.Edit(id, func(r *fake.Record) { r.Phone = "+351 22" }); err != nil {
				t.fail("%v", err)
			}
		}
	}
	p := t.change(t.target.Kinds.Rename, id, "k", sinks.Values{"name": "Alba Foods"}, "5")
	t.run(p)
	t.ends(p, sinks.ClassOK)
	t.counts(2, 1)
	r := t.site.Records(fake.Customer)[0]
	equal(t, "the person's phone", r.Phone, "+351 22")
	equal(t, "our name", r.Name, "Alba Foods")

	t.open("for ever", fake.Nature{})
	id = t.site.Plant(fake.Record{Sort: fake.Customer, Key: "k", Name: "Alba", Live: true})
	for range 50 {
		t.site.Misbehave(fake.Writes, fake.Fault{Kind: fake.Stale})
	}
	p = t.change(t.target.Kinds.Rename, id, "k", sinks.Values{"name": "Alba Foods"}, "5")
	t.run(p)
	t.asks(p, sinks.AskAttempts)
	profile, _ := t.d.w.Profile(p.Command.Kind)
	t.counts(profile.Attempts, 0)
}

func thereAndBack(t *trial) {
	t.open("", fake.Nature{})
	id := t.site.Plant(fake.Record{Sort: fake.Customer, Key: "k", Name: "A", Live: true})
	ids := map[string]bool{}
	for n, name := range []string{"B", "A", "B"} {
		t.site.Misbehave(fake.Writes, fake.Fault{Kind: fake.LostReply})
		p := t.change(t.target.Kinds.Rename, id, "k", sinks.Values{"name": name}, fmt.Sprint(n))
		ids[p.Command.ID] = true
		t.run(p)
		t.ends(p, sinks.ClassFound)
		equal(t, "name", t.site.Records(fake.Customer)[0].Name, name)
	}
	t.counts(3, 3)
	equal(t, "ids", len(ids), 3)
}

// otherRecord: a copy was restored, or an id is used again.
func otherRecord(t *trial) {
	t.open("", fake.Nature{})
	made := t.customer("C#1", "Alba")
	t.run(made)
	t.ends(made, sinks.ClassOK)
	if made.Final == nil {
		return
	}
	if err := t.site.Edit(made.Final.ID, func(r *fake.Record) { r.Key, r.Name = "theirs", "Hanse" }); err != nil {
		t.fail("%v", err)
	}
	p := t.change(t.target.Kinds.Rename, made.Final.ID, made.Command.ID, sinks.Values{"name": "Alba Foods"}, "1")
	t.run(p)
	t.asks(p, sinks.ReasonOtherRecord)
	t.counts(1, 1)
	equal(t, "name", t.site.Records(fake.Customer)[0].Name, "Hanse")
	gone := t.change(t.target.Kinds.Rename, "999", "k", sinks.Values{"name": "Alba Foods"}, "1")
	t.run(gone)
	t.asks(gone, sinks.ReasonGone)
	t.counts(1, 1)
}

func activation(t *trial) {
	for _, kind := range []fake.Kind{fake.LostReply, fake.FailedActed, fake.Late} {
		t.open(string(kind), fake.Nature{Settle: time.Minute})
		id := t.site.Plant(fake.Record{Sort: fake.Document, Key: "k", Live: true})
		t.site.Misbehave(fake.Writes, fake.Fault{Kind: kind, After: 70 * time.Second})
		for range 2 { // and once more, when it is active
			p := t.change(t.target.Kinds.Activate, id, "k", nil, "1")
			t.run(p)
			t.ends(p, sinks.ClassFound)
		}
		t.counts(1, 1)
		equal(t, "activations", t.site.Records(fake.Document)[0].Activations, 1)
	}
}

func ending(t *trial) {
	t.open("", fake.Nature{})
	id := t.site.Plant(fake.Record{Sort: fake.Document, Key: "k", Live: true, Active: true})
	t.site.Misbehave(fake.Writes, fake.Fault{Kind: fake.LostReply})
	for range 2 { // and once more, when it has ended
		p := t.change(t.target.Kinds.End, id, "k", nil, "1")
		t.run(p)
		t.ends(p, sinks.ClassFound)
	}
	t.counts(1, 1)
	equal(t, "live", t.site.Records(fake.Document)[0].Live, false)
}

// note: a line among those of people, of which one begins like it.
func note(t *trial) {
	t.open("", fake.Nature{})
	const theirs = "Subscription CT-10 since 2026-01-05, says Ana"
	id := t.site.Plant(fake.Record{Sort: fake.Document, Key: "k", Live: true, Notes: theirs})
	t.site.Misbehave(fake.Writes, fake.Fault{Kind: fake.LostReply}, fake.Fault{Kind: fake.Dropped})
	for n, line := range []string{"Subscription CT-10 since 2026-01-05", "Subscription CT-10 cancelled"} {
		for range 2 {
			p := t.change(t.target.Kinds.Note, id, "k", sinks.Values{"line": line}, fmt.Sprint(n))
			t.run(p)
			t.ends(p, sinks.ClassOK, sinks.ClassFound)
		}
	}
	t.counts(3, 2)
	equal(t, "notes", t.site.Records(fake.Document)[0].Notes, theirs+"\nSubscription CT-10 since 2026-01-05\nSubscription CT-10 cancelled")
}

// sharedParent: twenty customers of one new parent, whose answer is lost.
func sharedParent(t *trial) {
	t.open("", fake.Nature{})
	t.site.Misbehave(fake.Writes, fake.Fault{Kind: fake.LostReply})
	commands := map[string]*sinks.Progress{}
	for n := range 20 {
		parent := t.customer("C#100", "Holding")
		if commands[parent.Command.ID] == nil {
			commands[parent.Command.ID] = parent
		}
		parent = commands[parent.Command.ID]
		t.run(parent)
		if parent.Final == nil {
			t.fail("no parent: %+v", parent)
			return
		}
		p := t.customer(fmt.Sprintf("C#%d", n), "Daughter")
		p.Command.Values["parent"] = parent.Final.ID
		t.run(p)
		t.ends(p, sinks.ClassOK)
	}
	t.counts(21, 21)
	parents, linked := 0, 0
	books := t.site.Records(fake.Customer)
	for _, r := range books {
		if r.Code == "C#100" {
			parents++
		}
		if r.Parent != "" && r.Parent == books[0].ID {
			linked++
		}
	}
	equal(t, "parents", parents, 1)
	equal(t, "customers that name it", linked, 20)
}

func closedPeriod(t *trial) {
	t.open("", fake.Nature{})
	id := t.site.Plant(fake.Record{Sort: fake.Document, Key: "k", Live: true})
	t.site.Misbehave(fake.Writes, fake.Fault{Kind: fake.PeriodClosed})
	p := t.change(t.target.Kinds.Activate, id, "k", nil, "1")
	t.run(p)
	t.clock.Advance(48 * time.Hour)
	t.run(p)
	t.asks(p, sinks.ReasonPeriodClosed)
	t.counts(1, 0)
	p.Replace(nil) // decided: the period was opened
	t.run(p)
	t.ends(p, sinks.ClassOK)
	t.counts(2, 1)
}

// batch: 150 made, 30 refused without an id, 20 missing in the answer, of which
// 12 were made.
func batch(t *trial) {
	t.open("", fake.Nature{})
	kind := t.target.Kinds.Import
	p := &sinks.Progress{Command: sinks.Command{Kind: kind, Lane: "batch/1", ID: t.wish(kind, "batch/1").Create("")}}
	for n := range 200 {
		code := fmt.Sprintf("C#%d", n)
		wish := t.wish(t.target.Kinds.Customer, "account/"+code)
		p.Command.Elements = append(p.Command.Elements, sinks.Element{ID: wish.Create(""), Values: sinks.Values{"code": code, "name": "Row"}})
	}
	t.site.Misbehave(fake.Writes, fake.Fault{Kind: fake.Partial, Refused: 30, Missing: 20, MissingActed: 12})
	t.run(p)
	t.ends(p, sinks.ClassOK)
	t.counts(2, 170)
	if p.Final == nil {
		return
	}
	books := map[string]fake.Record{}
	for _, r := range t.site.Records(fake.Customer) {
		if _, twice := books[r.Key]; twice {
			t.fail("%s is there twice", r.Code)
		}
		books[r.Key] = r
	}
	rejected := 0
	for _, e := range p.Command.Elements {
		o := p.Final.Elements[e.ID]
		r, made := books[e.ID]
		switch {
		case o.Class == sinks.ClassRejected && o.Words != "" && !made:
			rejected++
		case !o.Effective() || !made || o.ID != r.ID:
			t.fail("%s ended as %+v; the books have %+v", e.Values.Text("code"), o, r)
		}
	}
	equal(t, "rejects", rejected, 30)
}
