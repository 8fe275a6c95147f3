package canonical

// The records of the canonical topics, one struct per file of schemas/avsc.
// A nil pointer, a nil Decimal, is NULL; a nil list is an empty one. Times are
// microseconds since 1970-01-01 UTC, dates are days since then.

// Envelope is what every canonical record begins with.
type Envelope struct {
	EntityID       string  `avro:"entity_id"`
	AccountID      *string `avro:"account_id"` // nil where the party is null
	Version        int64   `avro:"version"`
	Deleted        bool    `avro:"deleted"`
	System         string  `avro:"system"`
	NativeID       string  `avro:"native_id"`
	UpdatedAt      *int64  `avro:"updated_at"`
	SourcePosition *string `avro:"source_position"`
}

// AccountRecord is one real customer; EntityID equals the account's id.
type AccountRecord struct {
	Envelope
	Name      *string   `avro:"name"`
	CRMID     *string   `avro:"crm_id"`
	SubsID    *string   `avro:"subs_id"`
	ERPID     *string   `avro:"erp_id"`
	CRMIDs    []string  `avro:"crm_ids"`
	SubsIDs   []string  `avro:"subs_ids"`
	ERPIDs    []string  `avro:"erp_ids"`
	VATExempt *bool     `avro:"vat_exempt"`
	Addresses []Address `avro:"addresses"`
	Contacts  []Contact `avro:"contacts"`
}

// Address is a postal address of one of an account's parties.
type Address struct {
	System     string  `avro:"system"`
	NativeID   string  `avro:"native_id"`
	Street     *string `avro:"street"`
	PostalCode *string `avro:"postal_code"`
	City       *string `avro:"city"`
	Country    *string `avro:"country"`
}

// Contact is a way to reach one of an account's parties.
type Contact struct {
	System   string  `avro:"system"`
	NativeID string  `avro:"native_id"`
	Type     *string `avro:"type"`
	Value    *string `avro:"value"`
}

// IdentityLinkRecord tells which account a native party belongs to, and why.
type IdentityLinkRecord struct {
	Envelope
	Rule              string   `avro:"rule"`
	LinkedAt          *int64   `avro:"linked_at"`
	Approximate       bool     `avro:"approximate"`
	Name              *string  `avro:"name"`
	Reference         *string  `avro:"reference"`
	IgnoredReferences []string `avro:"ignored_references"`
}

// ProductRecord is a product, a template of products or a service.
type ProductRecord struct {
	Envelope
	Kind string  `avro:"kind"`
	Code *string `avro:"code"`
	Name *string `avro:"name"`
	OfID *string `avro:"of_id"`
}

// Line is one line of a document.
type Line struct {
	NativeID  string  `avro:"native_id"`
	ProductID *string `avro:"product_id"` // entity id of a product or service
	Quantity  Decimal `avro:"quantity"`
	UnitPrice Decimal `avro:"unit_price"`
}

// OpportunityRecord is what sales hopes to close.
type OpportunityRecord struct {
	Envelope
	DealID      *string `avro:"deal_id"`
	State       *string `avro:"state"`
	Phase       *string `avro:"phase"`
	Number      *string `avro:"number"`
	Description *string `avro:"description"`
	Amount      Decimal `avro:"amount"`
	Currency    *string `avro:"currency"`
	CreatedAt   *int64  `avro:"created_at"`
	Approximate bool    `avro:"approximate"`
	Lines       []Line  `avro:"lines"`
}

// OrderRecord is a sales order.
type OrderRecord struct {
	Envelope
	DealID    *string `avro:"deal_id"`
	State     *string `avro:"state"`
	Number    *string `avro:"number"`
	Net       Decimal `avro:"net"`
	Tax       Decimal `avro:"tax"`
	Gross     Decimal `avro:"gross"`
	Currency  *string `avro:"currency"`
	OrderDate *int32  `avro:"order_date"`
	CreatedAt *int64  `avro:"created_at"`
	Lines     []Line  `avro:"lines"`
}

// SubscriptionRecord is a recurring contract.
type SubscriptionRecord struct {
	Envelope
	DealID      *string `avro:"deal_id"`
	State       *string `avro:"state"`
	Phase       *string `avro:"phase"`
	Number      *string `avro:"number"`
	OrderNumber *string `avro:"order_number"`
	StartDate   *int32  `avro:"start_date"`
	EndDate     *int32  `avro:"end_date"`
	MonthlyNet  Decimal `avro:"monthly_net"`
	Currency    *string `avro:"currency"`
	CreatedAt   *int64  `avro:"created_at"`
	Lines       []Line  `avro:"lines"`
}

// InvoiceRecord is a sales invoice or a credit note.
type InvoiceRecord struct {
	Envelope
	DealID      *string `avro:"deal_id"`
	State       *string `avro:"state"`
	Phase       *string `avro:"phase"`
	Number      *string `avro:"number"`
	Kind        string  `avro:"kind"`
	InvoiceDate *int32  `avro:"invoice_date"`
	Reference   *string `avro:"reference"`
	OrderNumber *string `avro:"order_number"`
	Net         Decimal `avro:"net"`
	Tax         Decimal `avro:"tax"`
	Gross       Decimal `avro:"gross"`
	Paid        Decimal `avro:"paid"`
	Currency    *string `avro:"currency"`
	CreatedAt   *int64  `avro:"created_at"`
	Lines       []Line  `avro:"lines"`
}

// PaymentRecord is money tied to an invoice.
type PaymentRecord struct {
	Envelope
	DealID          *string `avro:"deal_id"`
	InvoiceID       *string `avro:"invoice_id"`
	InvoiceNativeID *string `avro:"invoice_native_id"`
	Amount          Decimal `avro:"amount"`
	PaidOn          *int32  `avro:"paid_on"`
	Currency        *string `avro:"currency"`
	CreatedAt       *int64  `avro:"created_at"`
}

// DealRecord is the order-to-cash story of one opportunity; EntityID is the
// deal's id.
type DealRecord struct {
	Envelope
	OpportunityNativeID *string  `avro:"opportunity_native_id"`
	OrderNumber         *string  `avro:"order_number"`
	SubscriptionNumber  *string  `avro:"subscription_number"`
	InvoiceNumber       *string  `avro:"invoice_number"`
	Stage               string   `avro:"stage"`
	OpenedAt            *int64   `avro:"opened_at"`
	WonAt               *int64   `avro:"won_at"`
	LostAt              *int64   `avro:"lost_at"`
	ActivatedAt         *int64   `avro:"activated_at"`
	InvoicedAt          *int64   `avro:"invoiced_at"`
	PaidAt              *int64   `avro:"paid_at"`
	Approximate         []string `avro:"approximate"` // columns (opened_at, won_at, …) that come from a snapshot row
	Amount              Decimal  `avro:"amount"`
	Currency            *string  `avro:"currency"`
}

// LetterRecord is a record that could not be processed.
type LetterRecord struct {
	Topic     string  `avro:"topic"`
	Partition int32   `avro:"partition"`
	Offset    int64   `avro:"offset"`
	Timestamp int64   `avro:"timestamp"` // record time in milliseconds
	Hop       string  `avro:"hop"`
	Reason    string  `avro:"reason"`
	Message   string  `avro:"message"`
	Healed    bool    `avro:"healed"`
	Key       *[]byte `avro:"key"`
	Value     *[]byte `avro:"value"`
}

// FeedRecord is what one task has counted of one source topic so far.
type FeedRecord struct {
	Topic         string `avro:"topic"`
	Hop           string `avro:"hop"`
	Partition     int32  `avro:"partition"`
	Version       int64  `avro:"version"`
	Received      int64  `avro:"received"`
	Repeated      int64  `avro:"repeated"`
	Stale         int64  `avro:"stale"`
	Waiting       int64  `avro:"waiting"`
	WaitingSince  *int64 `avro:"waiting_since"`
	Letters       int64  `avro:"letters"`
	Healed        int64  `avro:"healed"`
	Unavailable   int64  `avro:"unavailable"`
	OutOfSnapshot int64  `avro:"out_of_snapshot"`
	Tombstones    int64  `avro:"tombstones"`
	LastEventAt   *int64 `avro:"last_event_at"`
	LastSeenAt    *int64 `avro:"last_seen_at"`
}
