package sinktest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"syncline/sinks"
	"syncline/sinks/sinktest/fake"
)

// targetRows: limits, logins, and who it is that answers.
func targetRows() []Row {
	return []Row{
		{"throttled_is_no_try", throttled},
		{"refused_login_is_no_try_and_stops_the_target", refusedLogin},
		{"token_that_works_once_is_used_once", rotatingToken},
		{"another_organisation_stops_the_target", otherOrganisation},
	}
}

func throttled(t *trial) {
	t.open("", fake.Nature{})
	t.site.Misbehave(fake.Writes, slices.Repeat([]fake.Fault{{Kind: fake.Throttled, RetryAfter: 7 * time.Second}}, 20)...)
	p := t.customer("C#1", "Alba")
	t.run(p)
	t.ends(p, sinks.ClassOK)
	t.counts(21, 1)
	for n := 1; n < len(t.d.sends); n++ {
		if gap := t.d.sends[n] - t.d.sends[n-1]; gap < 7*time.Second {
			t.fail("request %d came %v after the answer that said 7 s", n, gap)
		}
	}
}

func refusedLogin(t *trial) {
	t.open("", fake.Nature{Rotates: true})
	first := t.customer("C#1", "Alba")
	t.run(first)
	t.ends(first, sinks.ClassOK)
	t.site.Expire(true)
	p := t.customer("C#2", "Hanse")
	t.run(p)
	equal(t, "stopped", t.d.stopped, "login")
	if p.Question != "" || p.Tries != 0 || p.Final != nil {
		t.fail("the command pays for the login: %+v", p)
	}
	requests := t.site.Counts().Requests
	if err := t.site.Login(); err != nil {
		t.fail("%v", err)
	}
	t.d.stopped, t.d.refusals = "", 0 // a person says go
	t.run(p)
	t.ends(p, sinks.ClassOK)
	t.counts(requests+1, 2)

	// In the middle of a write, and in doubt.
	t.open("in mid-write", fake.Nature{Blind: true})
	t.site.Misbehave(fake.Writes, fake.Fault{Kind: fake.Unauthorized}, fake.Fault{Kind: fake.Unauthorized})
	p = t.customer("C#1", "Alba")
	t.run(p)
	t.ends(p, sinks.ClassOK)
	t.counts(3, 1)
}

// rotatingToken: three processes use one login in turn, which ends three times.
func rotatingToken(t *trial) {
	t.open("", fake.Nature{Rotates: true})
	writers := []sinks.Writer{t.d.w, t.site.Writer(), t.site.Writer()}
	for n := range 30 {
		if n%10 == 5 {
			t.site.Expire(false)
		}
		t.d.w = writers[n%3]
		p := t.customer(fmt.Sprintf("C#%d", n), "Alba")
		t.run(p)
		t.ends(p, sinks.ClassOK)
	}
	equal(t, "customers", len(t.site.Records(fake.Customer)), 30)
	equal(t, "renewals", t.site.Counts().Renewals, 3)
	equal(t, "stopped", t.d.stopped, "")
}

// otherOrganisation: a copy answers at the address, then one that is live.
func otherOrganisation(t *trial) {
	for _, copied := range []string{"the copy", "live flag turned"} {
		t.open(copied, fake.Nature{})
		home := t.site.Identity()
		first := t.customer("C#1", "Alba")
		t.run(first)
		t.ends(first, sinks.ClassOK)
		p := t.customer("C#2", "Hanse")
		if copied == "the copy" {
			t.site.Become("another organisation")
		} else {
			t.site.Become(strings.Replace(home, "live", "test", 1))
		}
		t.clock.Advance(identityEvery)
		looks := t.site.Counts().Looks
		for range 5 {
			t.run(p)
			t.clock.Advance(time.Hour)
		}
		t.counts(1, 1)
		equal(t, "looks", t.site.Counts().Looks, looks)
		if !strings.HasPrefix(t.d.stopped, "not the target it was") || p.Question != "" {
			t.fail("stopped as %q, the command asks %q", t.d.stopped, p.Question)
		}
		t.site.Become(home)
		t.run(p)
		t.ends(p, sinks.ClassOK)
		t.counts(2, 2)
	}
}
