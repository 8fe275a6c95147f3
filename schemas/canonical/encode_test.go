package canonical

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// A record that was encoded without its version and one that was encoded with it
// are the same bytes.
func TestAppendVersion(t *testing.T) {
	enc, err := NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	account := strings.Repeat("a", 200)
	for _, rec := range []interface{ Head() *Envelope }{
		&AccountRecord{Envelope: Envelope{EntityID: "e"}}, &IdentityLinkRecord{}, &ProductRecord{Envelope: Envelope{AccountID: &account}},
		&OpportunityRecord{}, &OrderRecord{}, &SubscriptionRecord{}, &InvoiceRecord{Kind: KindInvoice},
		&PaymentRecord{Envelope: Envelope{EntityID: account, AccountID: &account, NativeID: "7"}}, &DealRecord{},
	} {
		for _, version := range []int64{1, 63, 64, 1 << 40} {
			rec.Head().Version = 0
			image, err := enc.Encode(nil, rec)
			if err != nil {
				t.Fatal(err)
			}
			got, err := AppendVersion([]byte("before"), image, version)
			if err != nil {
				t.Fatal(err)
			}
			rec.Head().Version = version
			want, err := enc.Encode([]byte("before"), rec)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(want, got) {
				t.Errorf("%T, version %d: %x, want %x", rec, version, got, want)
			}
		}
	}
	for _, bad := range [][]byte{nil, {2}, {2, 'e'}, {2, 'e', 4}, {2, 'e', 2, 9}, {2, 'e', 0}, {2, 'e', 0, 2}, {1}} {
		if b, err := AppendVersion(nil, bad, 1); err == nil {
			t.Errorf("%x became %x", bad, b)
		}
	}
}

func TestEntityIDIsUUIDv5(t *testing.T) {
	for _, id := range []string{"", "7", "template:12", strings.Repeat("9", 300)} {
		want := uuid.NewSHA1(uuid.NameSpaceURL, []byte("syncline:erp-1/invoice/"+id))
		if got := EntityID("erp-1", Invoice, id); uuid.UUID(got) != want {
			t.Errorf("id of %.20q is %s, want %s", id, IDText(got), want)
		}
	}
}
