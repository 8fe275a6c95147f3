// Package fake is the language between the writers' suite and a target under
// test: how the target is made, how it misbehaves, what reached it, and what its
// books say.
package fake

import (
	"time"

	"syncline/sinks"
)

// Nature is how a target is made. The zero value has no uniqueness, no keys, a
// look that sees everything at once, and answers while the caller waits.
type Nature struct {
	// Unique: a second live record with the key of another is refused.
	Unique bool
	// Keys is its store of idempotency keys; nil: it ignores them. Mismatch is the
	// status for a key with other content, 400 without one.
	Keys     *sinks.Keys
	Mismatch int
	// IgnoresKeys: it says that it has a store, and does not use it.
	IgnoresKeys bool
	// Blind: nothing can be looked up.
	Blind bool
	// LookLag is by how much its lists are late; reads by id are not.
	LookLag time.Duration
	// Limit and Settle are what a profile of it says.
	Limit, Settle time.Duration
	// FoldsCase: texts that differ in case only are the same to it.
	FoldsCase bool
	// TextIDs: ids are texts in its answers, else numbers.
	TextIDs bool
	// StaleVersions: its lists show versions of before.
	StaleVersions bool
	// Rotates: its access tokens end, and what renews them works once.
	Rotates bool
}

// Kind is a way to misbehave. Where it says nothing else, a write has taken
// effect before.
type Kind string

const (
	Late          Kind = "late"           // takes effect After later, and never answers
	LostReply     Kind = "lost reply"     // the connection breaks instead of an answer
	Dropped       Kind = "dropped"        // the same, without effect
	Silent        Kind = "silent"         // no effect, no answer
	Failed        Kind = "failed"         // no effect, an answer with Status (500)
	FailedActed   Kind = "failed, acted"  // an answer with Status (500)
	Throttled     Kind = "throttled"      // no effect, 429 with Retry-After
	Unauthorized  Kind = "unauthorized"   // no effect, 401
	Stale         Kind = "stale"          // no effect, 412: another version
	PeriodClosed  Kind = "period closed"  // no effect, a refusal for a reason of business
	HTML          Kind = "HTML"           // 200 with a page for people
	ErrorBody     Kind = "error body"     // 200 with {"error": …}
	Message       Kind = "message"        // 200 with {"message": …} and no id
	MorePages     Kind = "more pages"     // a list that says there is more, and never shows it
	Empty         Kind = "empty"          // a list of nothing
	Redirect      Kind = "redirect"       // 307 to another host, no effect
	Drops         Kind = "drops"          // the answer begins and does not end
	Huge          Kind = "huge"           // 100 MB
	Gzip          Kind = "gzip"           // a small answer that unpacks to a large one
	DuplicateKeys Kind = "duplicate keys" // JSON that says two things
	WrongID       Kind = "wrong id"       // an id that is a sentence
	Partial       Kind = "partial"        // of a batch: see Fault.Refused, Missing, MissingActed
)

// Fault is one misbehaviour, for one call.
type Fault struct {
	Kind       Kind
	After      time.Duration
	Status     int
	RetryAfter time.Duration
	// Of a batch, from its end: how many elements are refused, how many are missing
	// in the answer, and how many of these took effect.
	Refused, Missing, MissingActed int
}

// On is what a fault is about.
type On string

const (
	Writes On = "writes"
	Looks  On = "looks"
)

// Counts are what reached a target.
type Counts struct {
	Requests   int // writes of which a byte reached it
	Looks      int
	Identities int // questions who it is
	Effects    int // records that its books gained or that changed
	Keys       int // different idempotency keys
	Mismatches int // keys that came with other content
	Renewals   int // attempts to renew the login
	Elsewhere  int // requests that followed a redirect
	// LookedAt has the time of every look since the last reset.
	LookedAt []time.Time
}

// The sorts of records.
const (
	Customer = "customer"
	Document = "document" // a subscription or an invoice
)

// Record is what the books say of a thing.
type Record struct {
	ID, Sort, Key, Code, Name, Phone   string
	Live                               bool
	Active                             bool // of a document: posted, running
	Activations                        int
	Party, Parent, Currency, Of, Notes string
	Lines                              []Line
	Version                            int
}

// Line is a line of a document.
type Line struct{ Ref, Product, Quantity, Price string }
