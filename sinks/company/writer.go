// Package company writes to the practice company: one writer for its CRM, its
// subscription system or its ERP, which speak one language in different words.
package company

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"syncline/sinks"
	"syncline/sinks/httpcall"
)

// Options of a writer.
type Options struct {
	// System is crm, sub or erp.
	System string
	// Address is where the system answers, with its path.
	Address string
	// Profile says how the system is set up; Sets and Makes are the kinds'.
	Profile sinks.Profile
	// Tokens is the login; nil where the system wants none.
	Tokens *httpcall.Tokens
}

// Writer is a [sinks.Writer] for one system of the practice company.
type Writer struct {
	profile sinks.Profile
	words   words
	kinds   map[string]kind
	client  *httpcall.Client
	tokens  *httpcall.Tokens
}

// words are what a system calls its things.
type words struct {
	customers, documents         string
	active, ended, archived      string
	activate, end                string
	linesInHead                  bool // a document's lines go with its head
	create, run, cancel, reverse string
	makes                        string
}

var systems = map[string]words{
	"crm": {customers: "customers", documents: "orders", active: "confirmed", ended: "cancelled", archived: "archived", activate: "confirm", end: "cancel"},
	"sub": {
		customers: "subscribers", documents: "contracts", active: "live", ended: "terminated", archived: "closed", activate: "activate", end: "terminate",
		linesInHead: true, create: "subscription.create", run: "subscription.run", cancel: "subscription.cancel", makes: "subscription",
	},
	"erp": {
		customers: "debtors", documents: "bills", active: "issued", ended: "void", archived: "blocked", activate: "issue", end: "void",
		create: "invoice.create", run: "invoice.post", cancel: "invoice.cancel", reverse: "invoice.credit", makes: "invoice",
	},
}

// what a kind of command does.
type verb uint8

const (
	makeCustomer verb = iota
	makeCustomers
	renameCustomer
	makeDocument
	activateDocument
	endDocument
	reverseDocument
	addNote
)

type kind struct {
	verb       verb
	collection string
	sets       []string
	makes      string
}

// New returns a writer.
func New(o Options) (*Writer, error) {
	words, ok := systems[o.System]
	if !ok {
		return nil, fmt.Errorf("system %q: want crm, sub or erp", o.System)
	}
	w := &Writer{profile: o.Profile, words: words, tokens: o.Tokens}
	options := httpcall.Options{Base: o.Address}
	if o.Tokens != nil {
		options.Authorize = func(context.Context) (string, error) {
			p, err := o.Tokens.Read()
			return "Bearer " + p.Access, err
		}
	}
	client, err := httpcall.New(options)
	if err != nil {
		return nil, err
	}
	w.client = client
	w.kinds = map[string]kind{
		"customer.create":  {makeCustomer, words.customers, []string{"code", "name", "parent"}, "party"},
		"customers.import": {makeCustomers, words.customers, []string{"code", "name"}, "party"},
		"customer.update":  {renameCustomer, words.customers, []string{"name"}, ""},
		"order.note":       {addNote, words.documents, []string{"comment"}, ""},
	}
	add := func(name string, k kind) {
		if name != "" {
			k.collection = words.documents
			w.kinds[name] = k
		}
	}
	add(words.create, kind{verb: makeDocument, sets: []string{"party", "reference", "currency", "lines"}, makes: words.makes})
	add(words.run, kind{verb: activateDocument, sets: []string{"phase"}})
	add(words.cancel, kind{verb: endDocument, sets: []string{"phase"}})
	add(words.reverse, kind{verb: reverseDocument, sets: []string{"credited"}, makes: words.makes})
	return w, nil
}

// RenewTokens returns what asks the system at the address for the next pair.
func RenewTokens(address string) (func(ctx context.Context, refresh string) (httpcall.Pair, error), error) {
	client, err := httpcall.New(httpcall.Options{Base: address})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, refresh string) (httpcall.Pair, error) {
		body, err := json.Marshal(map[string]string{"refresh": refresh})
		if err != nil {
			return httpcall.Pair{}, err
		}
		reply, err := client.Do(ctx, http.MethodPost, "/token", nil, body)
		if err != nil {
			return httpcall.Pair{}, err
		}
		var pair struct {
			httpcall.Pair
			Error string `json:"error"`
		}
		switch err := httpcall.Decode(reply, &pair); {
		case err != nil:
			return httpcall.Pair{}, err
		case pair.Error != "": // with status 200
			return httpcall.Pair{}, fmt.Errorf("%w: %s", sinks.ErrAuth, httpcall.Words([]byte(pair.Error), refresh))
		case reply.Status != http.StatusOK || pair.Access == "" || pair.Refresh == "":
			return httpcall.Pair{}, fmt.Errorf("%w: status %d, not a pair of tokens", sinks.ErrUnclear, reply.Status)
		default:
			return pair.Pair, nil
		}
	}, nil
}

// Identity is the organisation's name for itself.
func (w *Writer) Identity(ctx context.Context) (string, error) {
	reply, err := w.client.Do(ctx, http.MethodGet, "/organisation", nil, nil)
	if err != nil {
		return "", err
	}
	var who struct {
		Organisation string `json:"organisation"`
	}
	if err := httpcall.Decode(reply, &who); err != nil {
		return "", err
	}
	if reply.Status != http.StatusOK || who.Organisation == "" {
		return "", fmt.Errorf("%w: status %d, no organisation", sinks.ErrUnclear, reply.Status)
	}
	return who.Organisation, nil
}

// Profile is the system's, with what the kind sets and makes.
func (w *Writer) Profile(name string) (sinks.Profile, bool) {
	k, ok := w.kinds[name]
	p := w.profile
	p.Sets, p.Makes = k.sets, k.makes
	return p, ok
}

// Apply sends one request. A login that was not accepted is renewed, for the next one.
func (w *Writer) Apply(ctx context.Context, r sinks.Request) (sinks.Reply, error) {
	header := map[string]string{}
	if w.profile.Keys != nil {
		header[w.profile.Keys.Header] = r.Key
	}
	if r.Version != "" {
		header["If-Match"] = r.Version
	}
	stale := w.access()
	reply, err := w.client.Do(ctx, r.Verb, r.Path, header, r.Body)
	if err == nil && reply.Status == http.StatusUnauthorized {
		return reply, w.renew(ctx, stale)
	}
	return reply, err
}

func (w *Writer) access() string {
	if w.tokens == nil {
		return ""
	}
	p, err := w.tokens.Read()
	if err != nil {
		return "" // the call says it
	}
	return p.Access
}

func (w *Writer) renew(ctx context.Context, stale string) error {
	if w.tokens == nil {
		return sinks.ErrAuth
	}
	if err := w.tokens.Renew(ctx, stale); err != nil {
		return errors.Join(sinks.ErrAuth, err)
	}
	return nil
}

// get reads; a login that was not accepted is renewed, and then the look repeated.
func (w *Writer) get(ctx context.Context, path string) (sinks.Reply, error) {
	stale := w.access()
	reply, err := w.client.Do(ctx, http.MethodGet, path, nil, nil)
	if err != nil || reply.Status != http.StatusUnauthorized {
		return reply, err
	}
	if err := w.renew(ctx, stale); err != nil {
		return sinks.Reply{}, err
	}
	reply, err = w.client.Do(ctx, http.MethodGet, path, nil, nil)
	if err == nil && reply.Status == http.StatusUnauthorized {
		err = sinks.ErrAuth
	}
	return reply, err
}
