package canonical

import (
	"fmt"

	"github.com/hamba/avro/v2"

	"syncline/schemas/avsc"
)

// Encoder writes the records of this package as Avro by the schemas of
// schemas/avsc. It is not safe for concurrent use: each task has its own.
type Encoder struct {
	w *avro.Writer

	account, identityLink, product, opportunity, order, subscription,
	invoice, payment, deal, letter, feed avro.Schema
}

// NewEncoder compiles the schemas.
func NewEncoder() (*Encoder, error) {
	// An API and a cache of its own: hamba's default ones are shared by the
	// whole process and leak named types from one schema into the next.
	api := avro.Config{}.Freeze()
	e := &Encoder{w: avro.NewWriter(nil, 1024, avro.WithWriterConfig(api))}
	for name, s := range map[string]*avro.Schema{
		"account": &e.account, "identity_link": &e.identityLink, "product": &e.product, "opportunity": &e.opportunity,
		"order": &e.order, "subscription": &e.subscription, "invoice": &e.invoice, "payment": &e.payment, "deal": &e.deal,
		"letter": &e.letter, "feed": &e.feed,
	} {
		text, err := avsc.Text(name)
		if err != nil {
			return nil, err
		}
		*s, err = avro.ParseWithCache(text, "", &avro.SchemaCache{})
		if err != nil {
			return nil, fmt.Errorf("parsing schemas/avsc/%s.avsc: %w", name, err)
		}
	}
	return e, nil
}

// Encode appends the Avro binary of rec, without Confluent framing, to dst. rec
// is a pointer to a record struct of this package.
func (e *Encoder) Encode(dst []byte, rec any) ([]byte, error) {
	var s avro.Schema
	switch rec.(type) {
	case *AccountRecord:
		s = e.account
	case *IdentityLinkRecord:
		s = e.identityLink
	case *ProductRecord:
		s = e.product
	case *OpportunityRecord:
		s = e.opportunity
	case *OrderRecord:
		s = e.order
	case *SubscriptionRecord:
		s = e.subscription
	case *InvoiceRecord:
		s = e.invoice
	case *PaymentRecord:
		s = e.payment
	case *DealRecord:
		s = e.deal
	case *LetterRecord:
		s = e.letter
	case *FeedRecord:
		s = e.feed
	default:
		return nil, fmt.Errorf("encoding %T: it is not a record of the canonical topics", rec)
	}
	e.w.Reset(nil)
	e.w.Error = nil
	e.w.WriteVal(s, rec)
	if e.w.Error != nil {
		return nil, fmt.Errorf("encoding %T: %w", rec, e.w.Error)
	}
	return append(dst, e.w.Buffer()...), nil
}
