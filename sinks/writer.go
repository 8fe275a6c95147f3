// Package sinks holds what brings decisions into the systems of others: the
// contract between whoever dispatches commands and the writers that know one
// system each, the ids of commands, and the rules by which a command is looked
// for, sent, and sent again.
//
// The rule behind all of them: a write of which nobody knows whether it took
// effect is never repeated on a guess. See [Progress].
package sinks

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Writer knows one system. Its methods are called from several goroutines at
// once, though never for two commands of one lane.
type Writer interface {
	// Identity says which organisation, tenant or database answers, and whether
	// it is the live one. Another answer than at the first contact means that the
	// address leads to another target.
	Identity(ctx context.Context) (string, error)
	// Profile says how far the target can be relied on for a kind of command; false if the writer does not know the kind.
	Profile(kind string) (Profile, bool)
	// Find returns every record with the command's key, dead ones too, and the
	// live ones of its lane that were made by others; for a command that changes
	// a record, that record. What it returns without an error is complete: an
	// error is not "none".
	Find(ctx context.Context, c Command) ([]Found, error)
	// Render makes the next request of a command: at is what is there of its
	// record (nil: nothing), key the vendor's key of each call. The same
	// arguments give the same bytes.
	Render(c Command, at *Found, key func(call string) string) (Request, error)
	// Apply sends one request, at most once.
	Apply(ctx context.Context, r Request) (Reply, error)
	// Classify says what came of a request. What it does not know is in doubt.
	Classify(c Command, r Request, reply Reply, err error) Outcome
}

// Checker is a Writer whose target can say beforehand what it would refuse.
type Checker interface {
	// Check has no effect. An error is not "no problems".
	Check(ctx context.Context, c Command) ([]Problem, error)
}

// Problem is what a target would refuse, in the words of Outcome.
type Problem struct {
	Reason string `json:"reason"`
	Words  string `json:"words"`
}

// Values are what a command wants: texts, truth values, nulls, lists and maps of
// these. Numbers are decimal texts, so that they have one spelling and no
// binary rounding.
type Values map[string]any

// Text returns the text under a name, "" without one.
func (v Values) Text(name string) string {
	s, _ := v[name].(string)
	return s
}

// Command is one wanted write.
type Command struct {
	// ID names the wish; see [Wish]. A target that keeps a field for us keeps it there.
	ID   string `json:"id"`
	Kind string `json:"kind"`
	// Lane is the thing in the target that the command changes. Commands of one
	// lane never overlap.
	Lane string `json:"lane"`
	// Predecessor is the native id of the lane's former record, which is dead: a
	// create makes its successor.
	Predecessor string `json:"predecessor,omitempty"`
	// NativeID is the record to change, "" for a create.
	NativeID string `json:"native_id,omitempty"`
	// Bears is the key that this record bears if it is the one that is meant.
	// Native ids get recycled, and copies of databases restored.
	Bears  string `json:"bears,omitempty"`
	Values Values `json:"values,omitempty"`
	// Elements make the command a batch: one request, an outcome for each.
	Elements []Element `json:"elements,omitempty"`
}

// Element is a row of a batch. ID is to the row what a command's is to it.
type Element struct {
	ID     string `json:"id"`
	Values Values `json:"values"`
}

// Found is a record of the target, as a look shows it.
type Found struct {
	ID  string `json:"id"`
	Key string `json:"key,omitempty"` // ours, exactly as the target keeps it
	// InLane says that the record is the lane's thing, whoever made it.
	InLane  bool   `json:"in_lane,omitempty"`
	Live    bool   `json:"live"`
	Version string `json:"version,omitempty"`
	// Done says that nothing of the command is left to do on the record.
	Done bool `json:"done"`
	// Parts are the calls of the command whose effect is there.
	Parts  []string          `json:"parts,omitempty"`
	Values map[string]string `json:"values,omitempty"` // as the target keeps them
}

// Request is one call as it goes out. It is stored before it does, and what is
// sent again are these bytes.
type Request struct {
	Call    string          `json:"call"` // names the part that it makes
	Verb    string          `json:"verb"`
	Path    string          `json:"path"`
	Key     string          `json:"key,omitempty"`     // the vendor's, see VendorKey
	Version string          `json:"version,omitempty"` // the record's, if the write depends on it
	Body    json.RawMessage `json:"body"`
}

// Reply is what a target answered.
type Reply struct {
	Status int
	Header map[string]string // lower-case names
	Body   []byte
}

// Class is the kind of an outcome.
type Class string

const (
	ClassOK         Class = "ok"          // took effect
	ClassFound      Class = "found"       // was there already
	ClassFoundEnded Class = "found_ended" // was there, and has ended
	ClassSeveral    Class = "several"     // more than one record claims to be it
	ClassMoved      Class = "moved"       // the record was merged into another
	ClassSuperseded Class = "superseded"  // a later command took its place
	ClassWithdrawn  Class = "withdrawn"   // nobody wants it any more
	ClassThrottled  Class = "throttled"   // not executed: too many
	ClassNotSent    Class = "not_sent"    // no byte left this machine
	ClassInDoubt    Class = "in_doubt"    // nobody knows; what a writer does not know is this
	ClassConflict   Class = "conflict"    // not executed: the record has another version
	ClassRejected   Class = "rejected"    // not executed: refused for a reason of business
	ClassContract   Class = "contract"    // the request breaks the target's rules: our mistake
	ClassAuth       Class = "auth"        // not executed: the login is not valid
)

// Reasons of a reject that flows may tell apart.
const (
	ReasonNameTaken    = "name_taken"
	ReasonPeriodClosed = "period_closed"
	ReasonCurrency     = "currency"
	ReasonOtherRecord  = "other_record" // the native id belongs to another record than the one that is meant
	ReasonGone         = "gone"         // the record to change is not there
	ReasonRefused      = "refused"      // everything else
)

// Outcome is what came of a request or a look.
type Outcome struct {
	Class   Class             `json:"class"`
	Reason  string            `json:"reason,omitempty"`
	ID      string            `json:"id,omitempty"`      // native
	Others  []string          `json:"others,omitempty"`  // of several: all native ids
	Version string            `json:"version,omitempty"` // after the write
	Values  map[string]string `json:"values,omitempty"`  // as the target keeps them
	Words   string            `json:"words,omitempty"`   // the target's own
	// More says that the call took effect and the command has further ones.
	More bool `json:"more,omitempty"`
	// RetryAfter is how long the target wants to be left alone.
	RetryAfter time.Duration `json:"retry_after,omitempty"`
	// Elements has the outcome of each element of a batch by its id. What is
	// missing is in doubt.
	Elements map[string]Outcome `json:"elements,omitempty"`
}

// Effective says that what was wanted is there: the outcome is final for the command's id.
func (o Outcome) Effective() bool { return o.Class == ClassOK && !o.More || o.Class == ClassFound }

// Profile says how far a target can be relied on for a kind of command.
type Profile struct {
	// Unique: the target itself refuses a second record with the command's key.
	Unique bool
	// Keys is its store of idempotency keys; nil without one.
	Keys *Keys
	// Looks: records can be found by the command's key. LookLag is how long they
	// may be missing there; zero for read-after-write.
	Looks   bool
	LookLag time.Duration
	// Limit is how long a call may take; Settle the longest from its end until
	// whatever has left this machine has taken effect.
	Limit, Settle time.Duration
	// Attempts is how many calls may come to nothing before a person is asked.
	Attempts int
	// Sets names the fields that the kind sets, so that a flow waits for one of them.
	Sets []string
	// Makes is the entity that a create makes.
	Makes string
}

// Keys describes a store of idempotency keys.
type Keys struct {
	Header string
	// Window is for how long a key is remembered, at least.
	Window time.Duration
	// StoresFailures: the answer to a key stays what it was first, also a failure.
	StoresFailures bool
}

// Guarantee is what stands between a lost answer and a second effect.
type Guarantee string

const (
	GuaranteeUnique Guarantee = "unique"
	GuaranteeWindow Guarantee = "window"
	GuaranteeLook   Guarantee = "look"
	GuaranteeNone   Guarantee = "none"
)

// Guarantee names the strongest that the profile has.
func (p Profile) Guarantee() Guarantee {
	switch {
	case p.Unique:
		return GuaranteeUnique
	case p.Keys != nil:
		return GuaranteeWindow
	case p.Looks:
		return GuaranteeLook
	default:
		return GuaranteeNone
	}
}

// What a look can end in, besides the errors of the network.
var (
	// ErrAuth: the login is not valid (any more).
	ErrAuth = errors.New("the target does not accept the login")
	// ErrUnclear: the target answered, but not with a complete and well-formed list.
	ErrUnclear = errors.New("the target's answer is not a complete list")
	// ErrBlind: a record that is known to be there is not shown either.
	ErrBlind = errors.New("the target does not show a record that is known to be there")
)
