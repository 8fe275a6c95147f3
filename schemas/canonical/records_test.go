package canonical

import (
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/avro"

	"syncline/schemas/avsc"
	"syncline/schemas/change"
)

func ptr[T any](v T) *T { return &v }

// fill gives every field of a record a value that no other field has, so that
// two fields in the wrong order cannot go unseen.
func fill(t *testing.T, v reflect.Value, n *int64) {
	t.Helper()
	*n++
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), n)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			d, err := NewDecimal(big.NewInt(*n*1_000_003), 2)
			if err != nil {
				t.Fatal(err)
			}
			v.SetBytes(d)
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(t, v.Index(0), n)
		fill(t, v.Index(1), n)
	case reflect.String:
		v.SetString("text ü " + big.NewInt(*n).String())
	case reflect.Int32, reflect.Int64:
		v.SetInt(*n * 1000)
	case reflect.Bool:
		v.SetBool(true)
	default:
		t.Fatalf("no filler for %s", v.Type())
	}
}

func records() map[string]any {
	return map[string]any{
		"account": &AccountRecord{}, "identity_link": &IdentityLinkRecord{}, "product": &ProductRecord{},
		"opportunity": &OpportunityRecord{}, "order": &OrderRecord{}, "subscription": &SubscriptionRecord{},
		"invoice": &InvoiceRecord{}, "payment": &PaymentRecord{}, "deal": &DealRecord{}, "letter": &LetterRecord{}, "feed": &FeedRecord{},
	}
}

func TestEncodeIsReadBackByAnotherLibrary(t *testing.T) {
	enc, err := NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	for name, zero := range records() {
		text, err := avsc.Text(name)
		if err != nil {
			t.Fatal(err)
		}
		schema, err := avro.Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		full := reflect.New(reflect.TypeOf(zero).Elem())
		var n int64
		fill(t, full.Elem(), &n)
		for what, rec := range map[string]any{"empty": zero, "full": full.Interface()} {
			t.Run(name+"/"+what, func(t *testing.T) {
				b, err := enc.Encode([]byte("head"), rec)
				if err != nil {
					t.Fatal(err)
				}
				if string(b[:4]) != "head" {
					t.Fatalf("Encode must append, got %q", b)
				}
				// The wire length of a nil list is one byte, as of an empty one.
				want, err := schema.Encode(rec)
				if err != nil {
					t.Fatal(err)
				}
				back := reflect.New(reflect.TypeOf(rec).Elem()).Interface()
				rest, err := schema.Decode(b[4:], back)
				if err != nil || len(rest) > 0 {
					t.Fatalf("decoding: %v, %d bytes left; encoded %x, twmb writes %x", err, len(rest), b[4:], want)
				}
				if diff := cmp.Diff(rec, back, cmpopts.EquateEmpty()); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestEncodeRefusesStrangers(t *testing.T) {
	enc, err := NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := enc.Encode(nil, &Line{}); err == nil {
		t.Error("a line is no record of its own")
	}
	if _, err := enc.Encode(nil, &FeedRecord{Topic: "t"}); err != nil {
		t.Errorf("an error must not stick to the encoder: %v", err)
	}
}

func TestDecimal(t *testing.T) {
	for _, c := range []struct {
		text  string
		scale int32
		want  string
	}{
		{"0", 0, "0.000000000"},
		{"1", 9, "0.000000001"},
		{"-1", 9, "-0.000000001"},
		{"127", 9, "0.000000127"},
		{"128", 9, "0.000000128"},
		{"-128", 9, "-0.000000128"},
		{"-129", 9, "-0.000000129"},
		{"53839", 2, "538.390000000"},
		{"-202632", 2, "-2026.320000000"},
		{"5", -3, "5000.000000000"},
		{"1230000", 12, "0.000001230"},
		{"9223372036854775807", 9, "9223372036.854775807"},
		{"-9223372036854775808", 9, "-9223372036.854775808"},
		{"9223372036854775808", 9, "9223372036.854775808"},
		{"99999999999999999999999999999999999999", 9, "99999999999999999999999999999.999999999"},
		{"-99999999999999999999999999999999999999", 9, "-99999999999999999999999999999.999999999"},
		{"99999999999999999999999999999", 0, "99999999999999999999999999999.000000000"},
	} {
		n, _ := new(big.Int).SetString(c.text, 10)
		d, err := NewDecimal(n, c.scale)
		if err != nil {
			t.Errorf("%s at %d: %v", c.text, c.scale, err)
			continue
		}
		if d.String() != c.want {
			t.Errorf("%s at %d is %s, want %s", c.text, c.scale, d, c.want)
		}
		if len(d) > 1 && (d[0] == 0 && d[1] < 0x80 || d[0] == 0xff && d[1] >= 0x80) {
			t.Errorf("%s: %x is not the shortest form", c.text, []byte(d))
		}
		if n.IsInt64() {
			v, err := DecimalOf(change.Value{Kind: change.Decimal, Int: n.Int64(), Scale: c.scale})
			if err != nil || string(v) != string(d) {
				t.Errorf("%s at %d: DecimalOf gives %s, %v", c.text, c.scale, v, err)
			}
		}
	}
	for _, c := range []struct {
		n     *big.Int
		scale int32
		rule  string
	}{
		{big.NewInt(1), 10, "at most 9"},
		{pow10(38), 9, "too great"},
		{new(big.Int).Neg(pow10(38)), 9, "too great"},
		{big.NewInt(1), math.MinInt32, "scale"},
		{big.NewInt(1), math.MaxInt32, "scale"},
	} {
		if d, err := NewDecimal(c.n, c.scale); err == nil || !strings.Contains(err.Error(), c.rule) {
			t.Errorf("%s at %d: got %s, %v", c.n, c.scale, d, err)
		}
	}
	if d, err := DecimalOf(change.Value{}); d != nil || err != nil {
		t.Errorf("NULL: %s, %v", d, err)
	}
}

func BenchmarkEncodeInvoice(b *testing.B) {
	enc, err := NewEncoder()
	if err != nil {
		b.Fatal(err)
	}
	amount, _ := NewDecimal(big.NewInt(53839), 2)
	rec := &InvoiceRecord{
		Envelope: Envelope{EntityID: "e7d6a4a8-0000-5000-8000-000000000000", AccountID: ptr("e7d6a4a8-0000-5000-8000-000000000001"), Version: 17, System: "erp", NativeID: "39", UpdatedAt: ptr(int64(1))},
		State:    ptr("posted"), Number: ptr("INV-1"), Kind: "invoice", Net: amount, Tax: amount, Gross: amount, Paid: amount, Currency: ptr("EUR"),
		Lines: []Line{{NativeID: "1", Quantity: amount, UnitPrice: amount}, {NativeID: "2", Quantity: amount, UnitPrice: amount}},
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		if buf, err = enc.Encode(buf[:0], rec); err != nil {
			b.Fatal(err)
		}
	}
}
