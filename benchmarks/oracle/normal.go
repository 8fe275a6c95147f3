package oracle

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	timeForm = "2006-01-02T15:04:05.000000Z"
	dateForm = "2006-01-02"
	// maxNumber bounds the length of a number's text: Decimal(38, 9) with sign
	// and point fits well.
	maxNumber = 64
)

// TimeText is the normal form of a time given in microseconds since 1970, UTC.
func TimeText(micros int64) string { return time.UnixMicro(micros).UTC().Format(timeForm) }

// DateText is the normal form of a date given in days since 1970.
func DateText(days int64) string {
	return time.Unix(days*86400, 0).UTC().Format(dateForm)
}

// DecimalText brings the text of a number into its normal form: no exponent, no
// trailing zeros, no minus before zero.
func DecimalText(text string) (string, error) {
	if text == "" || len(text) > maxNumber {
		return "", fmt.Errorf("%.20q is no decimal number of at most %d digits", text, maxNumber)
	}
	for i, c := range text {
		if (c < '0' || c > '9') && c != '.' && !(i == 0 && (c == '-' || c == '+')) {
			return "", fmt.Errorf("%q is no decimal number without exponent", text)
		}
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return "", fmt.Errorf("%q is no decimal number", text)
	}
	places := 0
	if _, after, found := strings.Cut(text, "."); found {
		places = len(after)
	}
	out := r.FloatString(places)
	if strings.Contains(out, ".") {
		out = strings.TrimRight(strings.TrimRight(out, "0"), ".")
	}
	if out == "-0" {
		out = "0"
	}
	return out, nil
}

// normal brings a text into the normal form of its kind.
func normal(kind Kind, text string) (string, error) {
	switch kind {
	case UUID:
		u, err := uuid.Parse(text)
		if err != nil {
			return "", fmt.Errorf("%q is no UUID: %w", text, err)
		}
		return u.String(), nil
	case Decimal:
		return DecimalText(text)
	case Integer:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return "", fmt.Errorf("%q is no integer", text)
		}
		return strconv.FormatInt(n, 10), nil
	case Float:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return "", fmt.Errorf("%q is no number", text)
		}
		return DecimalText(strconv.FormatFloat(f, 'f', 6, 64))
	case Bool:
		switch strings.ToLower(text) {
		case "true", "1":
			return "true", nil
		case "false", "0":
			return "false", nil
		}
		return "", fmt.Errorf("%q is no boolean", text)
	case Date:
		d, err := time.Parse(dateForm, text)
		if err != nil {
			return "", fmt.Errorf("%q is no date: %w", text, err)
		}
		return d.Format(dateForm), nil
	case Time:
		for _, form := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999"} {
			if t, err := time.Parse(form, text); err == nil {
				return t.UTC().Format(timeForm), nil
			}
		}
		return "", fmt.Errorf("%q is no time", text)
	case Set:
		if text == "" {
			return "", nil
		}
		parts := strings.Split(text, ",")
		slices.Sort(parts)
		return strings.Join(parts, ","), nil
	default:
		return text, nil
	}
}
