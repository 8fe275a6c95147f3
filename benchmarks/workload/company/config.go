package company

import (
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Config says which company is simulated. The zero value of a field stands for
// its default; the zero Config is 1,000 accounts with every rate at its
// default.
type Config struct {
	// Seed decides everything. The same Config gives the same bytes with the
	// same Go release on the same architecture.
	Seed uint64
	// Accounts is the number of CRM customers.
	Accounts int
	// Deals is the number of opportunities; one for each account by default. A
	// deal that goes all the way makes about 25 records.
	Deals int
	// Start is the time of the snapshot, where the stream begins; 2026-01-05
	// 06:00 UTC by default. What happened earlier is in the snapshot. The stream
	// goes on for about two months more than Span. Let it not reach the future:
	// Kafka 4 refuses records that are more than an hour ahead of its clock.
	Start time.Time
	// Span is the stream time over which deals are opened; 60 days by default.
	Span time.Duration
	// History is the share of accounts and deals from before Start; 0.15 by
	// default, negative for none.
	History float64
	// CRM, Subscriptions and Billing are the catalog's names of the systems,
	// which are in topics and views; crm, subs and erp by default.
	CRM, Subscriptions, Billing string
	// Instance is put before a system's name to make the catalog's name of its
	// instance, which is in every id; company- by default.
	Instance string
	// OversizedBytes is the least size of an oversized record's value; a little
	// over 1 MiB by default.
	OversizedBytes int
	// NoTruth drops what only Truth and FinalRows need, so that memory grows
	// with the accounts and open deals and not with the stream.
	NoTruth bool
	// Transport and Business are the rates of what goes wrong on the way and in
	// the systems. Nil stands for the defaults.
	Transport *Transport
	Business  *Business
}

// Transport holds the rates of what the way from database to topic does. They
// are shares of the records. They change no row of any view but feed_health.
type Transport struct {
	Redelivered   float64       // repeated in rewinds
	RewindLength  int           // mean records of a rewind
	Stalled       float64       // held back with their partition, up to StallFor
	StallFor      time.Duration // stream time
	StalledLong   float64       // held back for one to three hours of stream time
	Poison        float64       // not decodable, under keys of their own
	Oversized     float64       // over the limit, under keys of their own
	UnknownSchema float64       // a schema id that no registry knows; a consumer waits for it, so 0 by default
}

// Business holds the rates of what happens in the systems. They are shares of
// the deals, parties or documents they speak of.
type Business struct {
	// Of deals.
	Undecided, Lost, LostDeleted, SecondOrder, OrderWithoutDeal, Discount, LargeText float64
	// Of the orders of deals. OrderRewritten: cancelled and written anew;
	// SecondBilled, of second orders: fulfilled like the first.
	OrderRewritten, SecondBilled float64
	// Of won deals. Overtaken: the image that shows it reaches its topic after
	// the row's next one.
	Overtaken, NeverContracted, NeverActivated, Terminated, NeverBilled float64
	// Of contracts. InAdvance: billed before it is live.
	LongCycle, InAdvance float64
	// Of bills.
	DraftDeleted, DraftOrphaned, Void, PartlyPaid, PaidInParts, Unpaid, PaymentUndone float64
	CreditNote, LineMoved, MovedDebtor, NoDebtor, StrayLines                          float64
	VoidPaid, Overpaid, PaidBefore                                                    float64
	// Of credit notes. NamelessCredit: it has a bill's word for its kind.
	PartCredit, NamelessCredit float64
	// Of parties of the other systems.
	LateLink, WrongLink, WrongForEver, LinkChanged, LinkRemoved, NoLink, DanglingLink, TwoLinks, SecondDebtor float64
	// Of customers, once for each deal.
	Renamed, AddressChanged, AddressDeleted, CustomerDeleted float64
	// Of all that was deleted and can come back.
	Recreated float64
}

// DefaultTransport returns the rates of a bad day.
func DefaultTransport() *Transport {
	return &Transport{
		Redelivered: 0.10, RewindLength: 40, Stalled: 0.05, StallFor: time.Minute, StalledLong: 0.01,
		Poison: 0.001, Oversized: 0.0001,
	}
}

// DefaultBusiness returns the rates at which every kind of case occurs among a
// thousand accounts.
func DefaultBusiness() *Business {
	return &Business{
		Undecided: 0.10, Lost: 0.15, LostDeleted: 0.20, SecondOrder: 0.02, OrderWithoutDeal: 0.02, Discount: 0.12, LargeText: 0.04,
		OrderRewritten: 0.03, SecondBilled: 0.6, LongCycle: 0.12, InAdvance: 0.03,
		VoidPaid: 0.02, Overpaid: 0.02, PaidBefore: 0.02, PartCredit: 0.4, NamelessCredit: 0.2,
		Overtaken: 0.02, NeverContracted: 0.04, NeverActivated: 0.06, Terminated: 0.08, NeverBilled: 0.06,
		DraftDeleted: 0.04, DraftOrphaned: 0.15, Void: 0.03, PartlyPaid: 0.06, PaidInParts: 0.12, Unpaid: 0.08, PaymentUndone: 0.04,
		CreditNote: 0.05, LineMoved: 0.03, MovedDebtor: 0.03, NoDebtor: 0.02, StrayLines: 0.005,
		LateLink: 0.25, WrongLink: 0.05, WrongForEver: 0.02, LinkChanged: 0.03, LinkRemoved: 0.04, NoLink: 0.05, DanglingLink: 0.02, TwoLinks: 0.03, SecondDebtor: 0.10,
		Renamed: 0.05, AddressChanged: 0.05, AddressDeleted: 0.05, CustomerDeleted: 0.005,
		Recreated: 0.5,
	}
}

var instanceName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,30}$`)

// withDefaults fills in and checks.
func (c Config) withDefaults() (Config, error) {
	def := func(s *string, name string) {
		if *s == "" {
			*s = name
		}
	}
	def(&c.CRM, "crm")
	def(&c.Subscriptions, "subs")
	def(&c.Billing, "erp")
	def(&c.Instance, "company-")
	if c.Accounts == 0 {
		c.Accounts = 1000
	}
	if c.Deals == 0 {
		c.Deals = c.Accounts
	}
	if c.Start.IsZero() {
		c.Start = time.Date(2026, 1, 5, 6, 0, 0, 0, time.UTC)
	}
	if c.Span == 0 {
		c.Span = 60 * 24 * time.Hour
	}
	switch {
	case c.History == 0:
		c.History = 0.15
	case c.History < 0:
		c.History = 0
	}
	if c.OversizedBytes == 0 {
		c.OversizedBytes = 1<<20 + 64<<10
	}
	if c.Transport == nil {
		c.Transport = DefaultTransport()
	}
	if c.Business == nil {
		c.Business = DefaultBusiness()
	}
	var errs []error
	if c.Accounts < 2 || c.Accounts > 100_000_000 {
		errs = append(errs, fmt.Errorf("accounts %d: want 2 to 100,000,000", c.Accounts))
	}
	if c.Deals < 1 {
		errs = append(errs, fmt.Errorf("deals %d: want at least 1", c.Deals))
	}
	if c.Span < time.Hour {
		errs = append(errs, fmt.Errorf("span %v: want at least an hour", c.Span))
	}
	if c.History >= 1 {
		errs = append(errs, fmt.Errorf("history %v: want less than 1", c.History))
	}
	if c.OversizedBytes < 1024 || c.OversizedBytes > 3<<20 {
		errs = append(errs, fmt.Errorf("oversized bytes %d: want 1 KiB to 3 MiB", c.OversizedBytes))
	}
	if t := c.Transport; t.Redelivered < 0 || t.Redelivered > 1 || t.RewindLength < 0 || t.RewindLength > ringSize/2 {
		errs = append(errs, fmt.Errorf("redelivered %v in rewinds of %d: want a share and at most %d", t.Redelivered, t.RewindLength, ringSize/2))
	}
	for _, n := range []string{c.CRM, c.Subscriptions, c.Billing} {
		if !instanceName.MatchString(n) {
			errs = append(errs, fmt.Errorf("system %q: want lower case letters, digits and _, at most 31", n))
		}
	}
	return c, errors.Join(errs...)
}
