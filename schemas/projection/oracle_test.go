package projection_test

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"

	"syncline/schemas/change"
)

// shortest is the double with the digits that a float is written with.
func shortest(f float32) change.Value {
	x, _ := strconv.ParseFloat(fmt.Sprint(f), 64)
	return change.Value{Kind: change.Double, Int: int64(math.Float64bits(x))}
}

// decimalOracle reads an unscaled big-endian two's complement number by way of
// math/big.
func decimalOracle(raw []byte, scale int32) change.Value {
	x := new(big.Int).SetBytes(raw)
	if len(raw) > 0 && raw[0] >= 0x80 {
		x.Sub(x, new(big.Int).Lsh(big.NewInt(1), uint(8*len(raw))))
	}
	if x.IsInt64() {
		return change.Value{Kind: change.Decimal, Int: x.Int64(), Scale: scale}
	}
	return change.Value{Kind: change.Decimal, Bytes: twosComplement(x), Scale: scale}
}

// twosComplement writes x in as few bytes as it takes.
func twosComplement(x *big.Int) []byte {
	n := 1
	for ; ; n++ {
		top := new(big.Int).Lsh(big.NewInt(1), uint(8*n-1))
		if x.Cmp(top) < 0 && x.Cmp(new(big.Int).Neg(top)) >= 0 {
			break
		}
	}
	if x.Sign() < 0 {
		x = new(big.Int).Add(x, new(big.Int).Lsh(big.NewInt(1), uint(8*n)))
	}
	return slices.Clip(x.FillBytes(make([]byte, n)))
}
