package company_test

import (
	"os"
	"path/filepath"
	"testing"

	"syncline/benchmarks/workload/company/office"
	"syncline/sinks"
	"syncline/sinks/company"
	"syncline/sinks/httpcall"
	"syncline/sinks/sinktest"
	"syncline/sinks/sinktest/fake"
)

// site is a system of the practice company with a login for it.
type site struct {
	*office.Office
	system  string
	profile sinks.Profile
	dir     string
	tokens  *httpcall.Tokens
	next    httpcall.Pair
	breaks  *sabotage // nil: the writer as it is
}

// open starts a system and says in a profile how it is.
func open(system string, n fake.Nature, clock *sinktest.Clock) (*site, error) {
	o, err := office.Start(system, n, clock.Now)
	if err != nil {
		return nil, err
	}
	s := &site{Office: o, system: system, profile: sinks.Profile{
		Unique: n.Unique, Keys: n.Keys, Looks: !n.Blind, LookLag: n.LookLag, Limit: n.Limit, Settle: n.Settle, Attempts: 5,
	}}
	if n.Rotates {
		if s.dir, err = os.MkdirTemp("", "login-*"); err != nil {
			return nil, err
		}
		renew, err := company.RenewTokens(o.Address())
		if err != nil {
			return nil, err
		}
		s.tokens = httpcall.NewTokens(filepath.Join(s.dir, "erp"), renew)
		if err := s.tokens.Write(httpcall.Pair{Access: "access-1", Refresh: "refresh-1"}); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *site) Writer() sinks.Writer {
	options := company.Options{System: s.system, Address: s.Address(), Profile: s.profile, Tokens: s.tokens}
	if s.breaks != nil && s.breaks.options != nil {
		s.breaks.options(s, &options)
	}
	w, err := company.New(options)
	if err != nil {
		panic(err)
	}
	if s.breaks != nil && s.breaks.writer != nil {
		return s.breaks.writer(s, w)
	}
	return w
}

func (s *site) Expire(everything bool) {
	s.next.Access, s.next.Refresh = s.Office.Expire(everything)
}

func (s *site) Login() error { return s.tokens.Write(s.next) }

func (s *site) Close() {
	s.Office.Close()
	if s.dir != "" {
		os.RemoveAll(s.dir)
	}
}

func erp() sinktest.Target {
	return sinktest.Target{
		Kinds: sinktest.Kinds{
			Customer: "customer.create", Import: "customers.import", Rename: "customer.update",
			Document: "invoice.create", Activate: "invoice.post", Reverse: "invoice.credit", End: "invoice.cancel", Note: "order.note",
		},
		Open: func(n fake.Nature, clock *sinktest.Clock) (sinktest.Site, error) { return open("erp", n, clock) },
	}
}

func TestERP(t *testing.T) { sinktest.Run(t, erp()) }

func TestCRM(t *testing.T) {
	const people = "the CRM's orders are made by people"
	sinktest.Run(t, sinktest.Target{
		Kinds: sinktest.Kinds{Customer: "customer.create", Import: "customers.import", Rename: "customer.update", Note: "order.note"},
		Open:  func(n fake.Nature, clock *sinktest.Clock) (sinktest.Site, error) { return open("crm", n, clock) },
		Unable: map[string]string{
			"half_made_document_is_finished": people, "reversal_is_made_once": people, "one_intent_is_one_request": people,
			"activation_is_done_once": people, "end_is_reached_once": people, "closed_period_is_a_question": people,
		},
	})
}

func TestSubscriptions(t *testing.T) {
	sinktest.Run(t, sinktest.Target{
		Kinds: sinktest.Kinds{
			Customer: "customer.create", Import: "customers.import", Rename: "customer.update",
			Document: "subscription.create", Activate: "subscription.run", End: "subscription.cancel", Note: "order.note",
		},
		Open:   func(n fake.Nature, clock *sinktest.Clock) (sinktest.Site, error) { return open("sub", n, clock) },
		Unable: map[string]string{"reversal_is_made_once": "a subscription is ended, not taken back by another"},
	})
}
