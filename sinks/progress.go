package sinks

import (
	"bytes"
	"slices"
	"time"
)

// Progress is what is known of a command at its target: what was sent, what came
// back, what was seen. It decides what is done next, and does nothing itself: no
// clock, no network, no store. A dispatcher keeps it in its state, one for each
// command, and calls Begin, Returned and Looked in the transaction that tells
// the rest of the world.
//
// It knows two clocks. now is the process's own monotonic one, by which all
// waiting is measured, so that nobody who sets a clock back makes us send
// twice; it means nothing to the next process, see Restore. wall only says how
// old a vendor's key is.
//
// Between Begin and Returned the command is in doubt, so that a crash anywhere
// leaves it so.
type Progress struct {
	Command Command `json:"command"`
	// Request is the last one begun, FirstSent when its key was first used.
	Request   *Request  `json:"request,omitempty"`
	FirstSent time.Time `json:"first_sent"`
	// Generation counts how often the vendor's keys of the command were given up.
	Generation int `json:"generation,omitempty"`
	// Doubt: a request may have taken effect, or yet take it.
	Doubt bool `json:"doubt,omitempty"`
	// Tries counts the requests since the last progress of which nothing came.
	Tries int `json:"tries,omitempty"`
	// At is the record as the last word of the target had it; nil: none is known.
	At *Found `json:"at,omitempty"`
	// Settled holds the elements of a batch that need nothing any more.
	Settled map[string]Outcome `json:"settled,omitempty"`
	// Unwanted: nobody asks for the command any more. Whoever does again, while it
	// has not ended, sets it back.
	Unwanted bool `json:"unwanted,omitempty"`
	// Refusal is a reject that a look has still to confirm.
	Refusal *Outcome `json:"refusal,omitempty"`
	// Question, if not empty, is why the lane is parked.
	Question string `json:"question,omitempty"`
	// Last is the last outcome, Final the one that ends the command.
	Last  Outcome  `json:"last"`
	Final *Outcome `json:"final,omitempty"`

	since     time.Duration // when the last request was begun
	notBefore time.Duration
	fresh     bool // what is there was looked at, and nothing was begun since
	before    bool // Doubt, before the request that is under way
	blind     int  // looks that failed, in a row
}

// What can be asked of a person besides the reasons of a reject.
const (
	AskInDoubt  = "in_doubt" // sent, unknown what came of it, and nobody to ask
	AskAttempts = "attempts" // nothing comes of it
	AskSeveral  = "several"  // more than one record claims to be it
	AskContract = "contract" // the request breaks the target's rules
)

// Do is what is to be done next.
type Do string

const (
	DoWait   Do = "wait"   // until Act.Until, or longer
	DoLook   Do = "look"   // then Looked
	DoSend   Do = "send"   // Begin, Apply, Classify, then Returned
	DoResend Do = "resend" // the same, with the bytes that went before
	DoAsk    Do = "ask"    // a person; the lane is parked
	DoEnd    Do = "end"    // Final is set
)

// Act is a step to take.
type Act struct {
	Do     Do
	Until  time.Duration // on the monotonic clock, of a wait
	Reason string        // of a question
}

const (
	leastPause = time.Second // after an answer that nothing was executed
	mostPause  = time.Minute // between looks that fail
)

// Next says what to do now.
func (p *Progress) Next(profile Profile, now time.Duration, wall time.Time) Act {
	switch {
	case p.Final != nil:
		return Act{Do: DoEnd}
	case p.Question != "":
		return Act{Do: DoAsk, Reason: p.Question}
	case now < p.notBefore:
		return Act{Do: DoWait, Until: p.notBefore}
	case p.Doubt:
		return p.inDoubt(profile, now, wall)
	case p.Refusal != nil:
		return Act{Do: DoLook}
	case p.Tries >= profile.Attempts:
		return Act{Do: DoAsk, Reason: AskAttempts}
	case profile.Looks && !p.fresh && (!profile.Unique || p.Command.NativeID != ""):
		return Act{Do: DoLook}
	default:
		return Act{Do: DoSend}
	}
}

// inDoubt: first everything that was sent must have had its time. Then a look
// decides; without one, the same bytes may go again while the target surely
// remembers their key. All else is a person's.
func (p *Progress) inDoubt(profile Profile, now time.Duration, wall time.Time) Act {
	due := p.since + profile.Limit + profile.Settle
	if profile.Looks {
		due += profile.LookLag // an index that lags shows an effect later still
	}
	age := wall.Sub(p.FirstSent)
	switch {
	case now < due:
		return Act{Do: DoWait, Until: due}
	case profile.Looks:
		return Act{Do: DoLook}
	case p.Unwanted, profile.Keys == nil, age < 0, age > profile.Keys.Window/2:
		return Act{Do: DoAsk, Reason: AskInDoubt}
	case p.Tries >= profile.Attempts:
		return Act{Do: DoAsk, Reason: AskAttempts}
	default:
		return Act{Do: DoResend}
	}
}

// Begin makes the request of a DoSend or DoResend and notes it as sent: it is
// the intent, to be stored before Apply. An error means that the command cannot
// be rendered; the lane is parked.
func (p *Progress) Begin(w Writer, do Do, now time.Duration, wall time.Time) (Request, error) {
	if do != DoResend || p.Request == nil {
		r, err := w.Render(p.Rest(), p.At, p.key)
		if err == nil && p.Request != nil && p.Request.Key == r.Key && !bytes.Equal(p.Request.Body, r.Body) {
			// Nothing is in doubt, and a key stands for one content only.
			p.Generation++
			r, err = w.Render(p.Rest(), p.At, p.key)
		}
		if err != nil {
			p.Question, p.Last = AskContract, Outcome{Class: ClassContract, Words: err.Error()}
			return Request{}, err
		}
		if p.Request == nil || p.Request.Key != r.Key {
			p.FirstSent = wall
		}
		p.Request = &r
	}
	p.before, p.Doubt, p.since, p.fresh = p.Doubt, true, now, false
	return *p.Request, nil
}

func (p *Progress) key(call string) string { return VendorKey(p.Command.ID, call, p.Generation) }

// Rest is the command without the elements that need nothing any more.
func (p *Progress) Rest() Command {
	c := p.Command
	if len(p.Settled) > 0 {
		c.Elements = slices.DeleteFunc(slices.Clone(c.Elements), func(e Element) bool { _, ok := p.Settled[e.ID]; return ok })
	}
	return c
}

// Returned takes what came of the request that was begun.
func (p *Progress) Returned(profile Profile, o Outcome, now time.Duration) {
	if p.Final != nil {
		return // the feed was faster
	}
	p.Last = o
	switch o.Class {
	case ClassOK:
		p.succeeded(o)
	case ClassFound, ClassFoundEnded, ClassMoved, ClassSuperseded:
		p.end(o)
	case ClassSeveral:
		p.Question = AskSeveral
	case ClassThrottled, ClassNotSent, ClassAuth: // not executed, and no try
		p.Doubt = p.before
		p.notBefore = now + max(o.RetryAfter, leastPause)
	case ClassConflict:
		p.Doubt = p.before
		p.Tries++
		p.notBefore = now + o.RetryAfter
	case ClassRejected, ClassContract:
		p.refused(profile, o)
	default:
		if o.RetryAfter == 0 { // "still at it" is no try
			p.Tries++
		}
		p.notBefore = now + o.RetryAfter
	}
	if p.Unwanted && !p.Doubt && p.Final == nil {
		p.withdraw()
	}
}

func (p *Progress) succeeded(o Outcome) {
	p.Tries = 0
	switch {
	case len(p.Command.Elements) > 0:
		p.settle(o.Elements)
		p.Doubt = p.Final == nil // who is not in the answer
	case o.More:
		at := Found{ID: o.ID, Key: p.Command.ID, Live: true, Version: o.Version}
		if p.At != nil {
			at.Parts = slices.Clone(p.At.Parts)
		}
		at.Parts = append(at.Parts, p.Request.Call)
		p.At, p.Doubt, p.fresh = &at, false, true
	default:
		p.end(o)
	}
}

// refused: the request was not executed. It may be refused for what an earlier
// one has done, or for a record that is ours and forgotten, so a look comes first.
func (p *Progress) refused(profile Profile, o Outcome) {
	p.Tries++
	if p.Doubt = p.before; p.Doubt {
		return
	}
	if profile.Looks && (o.Class == ClassContract || o.Reason == ReasonNameTaken) {
		p.Refusal = &o
		return
	}
	p.Question = question(o)
}

func question(o Outcome) string {
	if o.Class == ClassContract {
		return AskContract
	}
	if o.Reason == "" {
		return ReasonRefused
	}
	return o.Reason
}

// Looked takes what a look has shown. An error is not "none": the look is
// repeated.
func (p *Progress) Looked(profile Profile, found []Found, err error, now time.Duration) {
	if p.Final != nil {
		return
	}
	if err != nil {
		p.notBefore = now + min(leastPause<<min(p.blind, 6), mostPause)
		p.blind++
		return
	}
	p.blind = 0
	if len(p.Command.Elements) > 0 {
		p.lookedForElements(profile, found)
		return
	}
	o, at := Judge(p.Command, found)
	switch {
	case o != nil && o.Class == ClassSeveral:
		p.Last, p.Question = *o, AskSeveral
		return
	case o != nil && o.Class == ClassRejected:
		p.Last, p.Question = *o, o.Reason
		return
	case o != nil:
		p.Last = *o
		p.end(*o)
		return
	}
	p.notThere(profile, at == nil || p.Request == nil || !slices.Contains(at.Parts, p.Request.Call))
	p.At = at
	switch {
	case p.Refusal != nil:
		p.Question, p.Refusal = question(*p.Refusal), nil
	case p.Unwanted:
		p.withdraw()
	}
}

// notThere ends a doubt: what was sent has surely had no effect. Where the vendor
// replays failures, its key is of no use any more.
func (p *Progress) notThere(profile Profile, useless bool) {
	if p.Doubt && useless && profile.Keys != nil && profile.Keys.StoresFailures {
		p.Generation++
	}
	p.Doubt, p.fresh = false, true
}

func (p *Progress) lookedForElements(profile Profile, found []Found) {
	seen := map[string]Outcome{}
	for _, e := range p.Rest().Elements {
		o, _ := Judge(Command{ID: e.ID}, found)
		if o != nil {
			seen[e.ID] = *o
		}
	}
	p.settle(seen)
	if p.Final == nil {
		p.notThere(profile, true)
	}
	if p.Unwanted && p.Final == nil {
		p.withdraw()
	}
}

// settle takes outcomes of elements that are final.
func (p *Progress) settle(outcomes map[string]Outcome) {
	if p.Settled == nil {
		p.Settled = map[string]Outcome{}
	}
	for _, e := range p.Command.Elements {
		o, ok := outcomes[e.ID]
		if _, had := p.Settled[e.ID]; ok && !had && (o.Effective() || o.Class == ClassRejected || o.Class == ClassFoundEnded || o.Class == ClassSeveral) {
			p.Settled[e.ID] = o
		}
	}
	if len(p.Settled) == len(p.Command.Elements) {
		p.end(Outcome{Class: ClassOK, Elements: p.Settled})
	}
}

func (p *Progress) end(o Outcome) {
	p.Final, p.Doubt, p.Refusal, p.Question = &o, false, nil, ""
}

func (p *Progress) withdraw() {
	o := Outcome{Class: ClassWithdrawn, Elements: p.Settled}
	if p.At != nil {
		o.ID = p.At.ID // a document that was begun
	}
	p.Last = o
	p.end(o)
}

// Restore begins a new process's clock: whatever was in doubt waits its whole
// time again.
func (p *Progress) Restore(now time.Duration) {
	p.since, p.notBefore, p.fresh, p.before = now, 0, false, p.Doubt
	if p.Doubt {
		p.Tries++ // nobody has counted the request that was under way
	}
}

// Seen takes what the target's feed shows: a record with the command's key. It
// settles the command in every state.
func (p *Progress) Seen(id string) {
	if p.Final == nil {
		p.Last = Outcome{Class: ClassFound, ID: id}
		p.end(p.Last)
	}
}

// Withdraw takes the wish back. What was begun is looked after first.
func (p *Progress) Withdraw() {
	p.Unwanted = true
	if p.Final == nil && !p.Doubt {
		p.withdraw()
	}
}

// Replace gives the command another request, a corrected one for example; false
// while something is in doubt or the command has ended: what was first sent
// is settled first, and newer values follow as a change.
func (p *Progress) Replace(values Values) bool {
	if p.Doubt || p.Final != nil {
		return false
	}
	p.Command.Values = values
	p.Question, p.Refusal, p.Tries, p.fresh = "", nil, 0, false
	return true
}

// Link is a person's answer: the record is this one.
func (p *Progress) Link(id string) { p.Seen(id) }

// NotThere is a person's answer: nothing of it is in the target, go on.
func (p *Progress) NotThere(profile Profile) {
	p.notThere(profile, true)
	p.Question, p.Tries = "", 0
}
