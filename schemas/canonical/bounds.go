package canonical

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"syncline/schemas/change"
)

// The bounds of every value that goes on from intake: of each kind the narrowest
// of Avro, ClickHouse and its Go driver. Later steps rely on them and judge no
// value again; what they compute themselves they hold against the same numbers.
const (
	FirstDay    = -25_567                      // 1900-01-01, where ClickHouse's Date32 and DateTime64 begin
	EndDay      = 120_530                      // 2300-01-01, where Date32 has ended
	FirstMicros = FirstDay * DayMicros         // 1900-01-01
	EndMicros   = 9_214_646_400_000_000        // 2262-01-01: the driver counts nanoseconds in 64 bits
	MaxDigits   = 38                           // of a number in a row; DecimalScale of them after the point where it is published
	MaxWhole    = 14                           // of them before the point, so that products and sums of amounts fit as well
	MaxText     = 65_000                       // bytes: keys of joins count them in 16 bits
	MaxID       = 2048                         // bytes of a native id
	DayMicros   = int64(24 * time.Hour / 1000) // microseconds of a day
)

// Bounded says why a value of a row cannot be shown everywhere as it is, nil
// where it can.
func Bounded(v change.Value) error {
	switch v.Kind {
	case change.Timestamp:
		return BoundedTime(v.Int)
	case change.Date:
		if v.Int < FirstDay || v.Int >= EndDay {
			return fmt.Errorf("%s is outside 1900-01-01 to 2299-12-31: an open end is NULL, not a date far away", dayText(v.Int))
		}
	case change.Decimal:
		return boundedNumber(v)
	case change.String:
		if len(v.Bytes) > MaxText {
			return fmt.Errorf("the text has %d bytes, the limit is %d", len(v.Bytes), MaxText)
		}
	}
	return nil
}

// BoundedTime is Bounded for a time in microseconds since 1970-01-01 UTC.
func BoundedTime(micros int64) error {
	if micros >= FirstMicros && micros < EndMicros {
		return nil
	}
	day := micros / DayMicros
	return fmt.Errorf("the time (%s, %d µs) is outside the years 1900 to 2261: an unknown time is NULL, not infinity or the first of years", dayText(day), micros)
}

// BoundedID says why a text is no native id: ids are parts of keys.
func BoundedID(id string) error {
	switch {
	case id == "":
		return errors.New("it is empty")
	case len(id) > MaxID:
		return fmt.Errorf("it has %d bytes, an id has at most %d", len(id), MaxID)
	case strings.IndexByte(id, 0) >= 0:
		return errors.New("it has a NUL character")
	}
	return nil
}

func boundedNumber(v change.Value) error {
	if v.Scale < -MaxDigits || v.Scale > MaxDigits {
		return fmt.Errorf("a number with %d digits after the point: the limit is %d", v.Scale, MaxDigits)
	}
	if v.Bytes == nil && v.Scale >= 0 { // by far the most
		n := v.Int
		for range v.Scale {
			if n /= 10; n == 0 {
				break
			}
		}
		if n > -wholeLimit && n < wholeLimit {
			return nil
		}
		return tooGreat(v)
	}
	whole := change.Unscaled(v)
	switch {
	case whole.CmpAbs(pow10(MaxDigits)) >= 0:
		return fmt.Errorf("a number of more than %d digits", MaxDigits)
	case v.Scale > 0:
		whole.Quo(whole, pow10(v.Scale))
	case v.Scale < 0:
		whole.Mul(whole, pow10(-v.Scale))
	}
	if whole.CmpAbs(pow10(MaxWhole)) >= 0 {
		return tooGreat(v)
	}
	return nil
}

const wholeLimit = 1e14 // MaxWhole digits

func tooGreat(v change.Value) error {
	return fmt.Errorf("%s has more than %d digits before the point", clipText(change.DecimalText(v)), MaxWhole)
}

func dayText(day int64) string {
	if day < -100_000_000 || day > 100_000_000 {
		return "infinity"
	}
	return time.Unix(day*86_400, 0).UTC().Format(time.DateOnly)
}

func clipText(s string) string {
	if len(s) > 48 {
		return s[:48] + "…"
	}
	return s
}
