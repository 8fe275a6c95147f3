package change

import (
	"math/big"
	"strings"
)

// DecimalOf makes a Decimal value of an unscaled number and its scale (digits
// after the point, >= 0).
func DecimalOf(unscaled *big.Int, scale int32) Value {
	v := Value{Kind: Decimal, Scale: scale}
	if unscaled.IsInt64() {
		v.Int = unscaled.Int64()
		return v
	}
	v.Bytes = twosComplement(unscaled)
	return v
}

// Unscaled returns the unscaled number of a Decimal value.
func Unscaled(v Value) *big.Int {
	if v.Bytes == nil {
		return big.NewInt(v.Int)
	}
	n := new(big.Int).SetBytes(v.Bytes)
	if v.Bytes[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(len(v.Bytes))*8))
	}
	return n
}

// DecimalText is the shortest plain text of a Decimal: no exponent, no zeros at
// the end of the fraction.
func DecimalText(v Value) string {
	n := Unscaled(v)
	negative := n.Sign() < 0
	s := new(big.Int).Abs(n).String()
	if v.Scale < 0 && s != "0" {
		s += strings.Repeat("0", -int(v.Scale))
	}
	if scale := int(v.Scale); scale > 0 {
		if pad := scale + 1 - len(s); pad > 0 {
			s = strings.Repeat("0", pad) + s
		}
		s = s[:len(s)-scale] + "." + s[len(s)-scale:]
		s = strings.TrimRight(s, "0")
		s = strings.TrimSuffix(s, ".")
	}
	if negative && s != "0" {
		s = "-" + s
	}
	return s
}

func twosComplement(n *big.Int) []byte {
	if n.Sign() >= 0 {
		b := n.Bytes()
		if len(b) == 0 || b[0]&0x80 != 0 {
			b = append([]byte{0}, b...)
		}
		return b
	}
	length := uint(n.BitLen()/8 + 1)
	return new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), length*8)).Bytes()
}

// String names the kind in messages.
func (k Kind) String() string {
	names := [...]string{"null", "missing", "unavailable", "bool", "int", "double", "decimal", "string", "bytes", "date", "timestamp", "duration", "record", "unreadable"}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}
