package registry_test

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"syncline/schemas/registry"
)

func TestFrame(t *testing.T) {
	for _, id := range []int{1, 101, 0x01020304, math.MaxInt32} {
		for _, payload := range [][]byte{nil, {0}, []byte("body")} {
			framed := registry.Frame(id, payload)
			gotID, got, err := registry.Unframe(framed)
			if err != nil || gotID != id || !bytes.Equal(got, payload) {
				t.Errorf("id %d, payload %q: got %d, %q, %v", id, payload, gotID, got, err)
			}
			if appended := append(registry.AppendFrame([]byte("x"), id), payload...); !bytes.Equal(appended[1:], framed) {
				t.Errorf("AppendFrame gives %x, Frame %x", appended[1:], framed)
			}
		}
	}
	if got := registry.Frame(0x01020304, []byte{9}); !bytes.Equal(got, []byte{0, 1, 2, 3, 4, 9}) {
		t.Errorf("frame is %x", got)
	}
	for _, bad := range [][]byte{nil, {}, {0}, {0, 0, 0, 1}, {1, 0, 0, 0, 1}, {0, 0, 0, 0, 0}, {0, 0x80, 0, 0, 0}, {0, 0xff, 0xff, 0xff, 0xff, 1}, []byte(`{"a":1}`)} {
		if _, _, err := registry.Unframe(bad); !errors.Is(err, registry.ErrFrame) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}

func FuzzUnframe(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 2})
	f.Add([]byte{1, 0, 0, 0, 1})
	f.Add([]byte{0, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		id, payload, err := registry.Unframe(b)
		if err != nil {
			if !errors.Is(err, registry.ErrFrame) {
				t.Fatalf("error %v is no ErrFrame", err)
			}
			return
		}
		if again := registry.Frame(id, payload); !bytes.Equal(again, b) {
			t.Fatalf("%x framed again is %x", b, again)
		}
	})
}
