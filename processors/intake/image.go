package intake

import "syncline/schemas/change"

// Image is one decoded change of a source row: the values of Source.Want, in
// that order.
type Image []change.Value

// clip bounds what a message quotes of a record.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
