package canonical

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"syncline/schemas/avsc"
)

type texts map[int]string

func (t texts) SchemaByID(_ context.Context, id int) (string, error) {
	s, ok := t[id]
	if !ok {
		return "", errors.New("no such id")
	}
	return s, nil
}

func framed(id uint32, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, id), body...)
}

func TestDecode(t *testing.T) {
	product, err := avsc.Text("product")
	if err != nil {
		t.Fatal(err)
	}
	older := strings.Replace(product, `"name": "code"`, `"name": "former_code"`, 1) // a field we do not know, one it does not know
	known := texts{7: product, 8: older, 9: `"int"`, 10: `{"not`}
	dec, err := NewDecoder("product", known)
	if err != nil {
		t.Fatal(err)
	}
	enc, err := NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	want := ProductRecord{Envelope: Envelope{EntityID: "e", Version: 3, System: "crm", NativeID: "1"}, Kind: KindProduct, Code: ptr("SEAT"), Name: ptr("Seat")}
	body, err := enc.Encode(nil, &want)
	if err != nil {
		t.Fatal(err)
	}
	var got ProductRecord
	if err := dec.Decode(t.Context(), framed(7, body), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	got = ProductRecord{}
	if err := dec.Decode(t.Context(), framed(8, body), &got); err != nil {
		t.Fatal(err)
	}
	want.Code = nil
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("by an older schema: %s", diff)
	}

	for name, c := range map[string]struct {
		bytes  []byte
		schema bool
	}{
		"empty":                  {nil, false},
		"no frame":               {[]byte("plain text"), false},
		"unknown id":             {framed(11, body), true},
		"id out of range":        {framed(1<<31, body), false},
		"schema of another kind": {framed(9, body), false},
		"broken schema":          {framed(10, body), false},
		"cut short":              {framed(7, body[:len(body)-3]), false},
		"trailing bytes":         {framed(7, append(append([]byte{}, body...), 0)), false},
		"huge length":            {framed(7, []byte{0xfe, 0xff, 0xff, 0xff, 0x0f, 'x'}), false},
	} {
		t.Run(name, func(t *testing.T) {
			err := dec.Decode(t.Context(), c.bytes, &ProductRecord{})
			if err == nil {
				t.Fatal("want an error")
			}
			if errors.Is(err, ErrSchema) != c.schema {
				t.Errorf("wraps ErrSchema: %v, want %v: %v", !c.schema, c.schema, err)
			}
		})
	}
}

func TestDecodeRefusesAnotherScale(t *testing.T) {
	text, err := avsc.Text("payment")
	if err != nil {
		t.Fatal(err)
	}
	dec, err := NewDecoder("payment", texts{1: strings.Replace(text, `"scale": 9`, `"scale": 2`, 1)})
	if err != nil {
		t.Fatal(err)
	}
	enc, err := NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	body, err := enc.Encode(nil, &PaymentRecord{Amount: Decimal{1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := dec.Decode(t.Context(), framed(1, body), &PaymentRecord{}); err == nil || !strings.Contains(err.Error(), "scale 9") {
		t.Errorf("an amount of scale 2 read at scale 9 would be wrong by ten million times; got %v", err)
	}
}

func BenchmarkDecodeInvoice(b *testing.B) {
	enc, err := NewEncoder()
	if err != nil {
		b.Fatal(err)
	}
	text, _ := avsc.Text("invoice")
	dec, err := NewDecoder("invoice", texts{1: text})
	if err != nil {
		b.Fatal(err)
	}
	amount := Decimal{1, 2, 3, 4, 5}
	rec := &InvoiceRecord{
		Envelope: Envelope{EntityID: "e7d6a4a8-0000-5000-8000-000000000000", AccountID: ptr("e7d6a4a8-0000-5000-8000-000000000001"), Version: 17, System: "erp", NativeID: "39", UpdatedAt: ptr(int64(1))},
		State:    ptr("posted"), Number: ptr("INV-1"), Kind: "invoice", Net: amount, Tax: amount, Gross: amount, Paid: amount, Currency: ptr("EUR"),
		Lines: []Line{{NativeID: "1", Quantity: amount, UnitPrice: amount}, {NativeID: "2", Quantity: amount, UnitPrice: amount}},
	}
	body, err := enc.Encode(nil, rec)
	if err != nil {
		b.Fatal(err)
	}
	in := framed(1, body)
	b.ReportAllocs()
	for b.Loop() {
		var r InvoiceRecord
		if err := dec.Decode(b.Context(), in, &r); err != nil {
			b.Fatal(err)
		}
	}
}
