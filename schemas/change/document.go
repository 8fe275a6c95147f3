package change

import "slices"

// Document is a header row with its children, as one system knows it. It is the
// record of the documents topic.
//
// Version is the document hop's own count for this document: it rises with
// every emission, retractions included.
type Document struct {
	System    string
	Entity    string
	ID        string // native id
	Party     string // native id of the customer; "" where there is none
	Version   uint64
	Retracted bool // no longer seen under this party; no rows
	Header    Row
	Children  []Row // by part, then by id
}

const documentFormat = 1

// DocumentHead is what can be read of a stored document without decoding its
// rows.
type DocumentHead struct {
	System, Entity, ID, Party string
	Version                   uint64
	Retracted                 bool
}

// Head returns the document's head.
func (d *Document) Head() DocumentHead {
	return DocumentHead{System: d.System, Entity: d.Entity, ID: d.ID, Party: d.Party, Version: d.Version, Retracted: d.Retracted}
}

// AppendDocument appends the stored form: the head, then the rows as they are
// stored (see AppendRow), header first. A retraction has no rows.
func AppendDocument(b []byte, h DocumentHead, rows [][]byte) []byte {
	size := 24 + len(h.System) + len(h.Entity) + len(h.ID) + len(h.Party)
	for _, r := range rows {
		size += 3 + len(r)
	}
	b = slices.Grow(b, size)
	b = append(b, documentFormat)
	flags := byte(0)
	if h.Retracted {
		flags = 1
	}
	b = append(b, flags)
	for _, s := range [...]string{h.System, h.Entity, h.ID, h.Party} {
		b = appendString(b, s)
	}
	b = appendUvarint(b, h.Version)
	b = appendUvarint(b, uint64(len(rows)))
	for _, r := range rows {
		b = appendBytes(b, r)
	}
	return b
}

// DecodeDocumentHead reads the head only: four views into b.
func DecodeDocumentHead(b []byte) (DocumentHead, error) {
	d := decoder{b: b}
	var h DocumentHead
	d.documentHead(&h)
	if d.err == nil {
		d.b = nil
	}
	return h, d.finish("document")
}

// DecodeDocument reads all of a stored document. Values and strings are views
// into b, which must never be changed.
func DecodeDocument(b []byte) (Document, error) {
	return new(Arena).Document(b)
}

// Document is DecodeDocument with the rows and fields in the arena.
func (a *Arena) Document(b []byte) (Document, error) {
	d := decoder{b: b}
	var h DocumentHead
	d.documentHead(&h)
	doc := Document{System: h.System, Entity: h.Entity, ID: h.ID, Party: h.Party, Version: h.Version, Retracted: h.Retracted}
	n := d.count()
	if n > 1 {
		doc.Children = a.rows.take(n - 1)
	}
	for i := range n {
		row := decoder{b: d.bytes()}
		if d.err != nil {
			break
		}
		if i == 0 {
			row.row(&doc.Header, a)
		} else {
			row.row(&doc.Children[i-1], a)
		}
		if err := row.finish("row of a document"); err != nil {
			return Document{}, err
		}
	}
	return doc, d.finish("document")
}

func (d *decoder) documentHead(h *DocumentHead) {
	d.format(documentFormat)
	h.Retracted = d.byte()&1 != 0
	for _, s := range [...]*string{&h.System, &h.Entity, &h.ID, &h.Party} {
		*s = d.string()
	}
	h.Version = d.uvarint()
}

// ID is a canonical id: a UUIDv5 as bytes. The zero ID is none.
type ID [16]byte

// IsZero reports whether there is no id.
func (id ID) IsZero() bool { return id == ID{} }

// Link says which account a party belongs to, and why.
type Link struct {
	Rule      string // master, reference or none
	Reference string // the identifier that was followed
	Since     Instant
	Ignored   []string // other identifiers that name a master party
}

// The rules of a Link.
const (
	RuleMaster    = "master"
	RuleReference = "reference"
	RuleNone      = "none"
)

// AccountDocument is a document under the account its party belongs to: the
// record of the accounts topic. Stored is the document as AppendDocument wrote
// it; Link is set for a party's own document.
type AccountDocument struct {
	Account ID // zero where the document has no party
	Link    *Link
	Stored  []byte
}

const accountDocumentFormat = 1

// AppendAccountDocument appends the stored form.
func AppendAccountDocument(b []byte, a *AccountDocument) []byte {
	size := 2 + len(a.Account) + len(a.Stored)
	if a.Link != nil {
		size += 64
	}
	b = append(slices.Grow(b, size), accountDocumentFormat)
	b = append(b, a.Account[:]...)
	if a.Link == nil {
		b = append(b, 0)
	} else {
		b = append(b, 1)
		b = AppendLink(b, a.Link)
	}
	return append(b, a.Stored...)
}

// DecodeAccountDocument reads the stored form; Stored is a view into b.
func DecodeAccountDocument(b []byte) (AccountDocument, error) {
	d := decoder{b: b}
	d.format(accountDocumentFormat)
	var a AccountDocument
	for i := range a.Account {
		a.Account[i] = d.byte()
	}
	if d.byte() == 1 {
		a.Link = new(Link)
		d.link(a.Link)
	}
	a.Stored = d.b
	if d.err == nil {
		d.b = nil
	}
	return a, d.finish("account document")
}

// AppendLink appends the stored form of a link.
func AppendLink(b []byte, l *Link) []byte {
	b = appendString(b, l.Rule)
	b = appendString(b, l.Reference)
	b = appendInstant(b, l.Since)
	b = appendUvarint(b, uint64(len(l.Ignored)))
	for _, s := range l.Ignored {
		b = appendString(b, s)
	}
	return b
}

func (d *decoder) link(l *Link) {
	l.Rule, l.Reference, l.Since = d.string(), d.string(), d.instant()
	n := d.count()
	for range n {
		l.Ignored = append(l.Ignored, d.string())
	}
}

// DecodeLink reads the stored form of a link.
func DecodeLink(b []byte) (Link, error) {
	d := decoder{b: b}
	var l Link
	d.link(&l)
	return l, d.finish("link")
}
