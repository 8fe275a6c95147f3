package projection

// variable is the width of a type whose values differ in length.
const variable = -1

// maxWidth caps a width, so that sums and products of widths stay far from
// overflow; no record may be this long.
const maxWidth = 1 << 31

// widthOf computes, for every type reachable from t, how many bytes a value of
// it takes if that is always the same. A boolean is not counted as fixed: its
// byte has to be looked at. A type that contains itself is variable.
func widthOf(t *node, open map[*node]bool) int64 {
	if t.widthSet {
		return t.width
	}
	if open[t] {
		return variable
	}
	open[t] = true
	defer delete(open, t)
	w := int64(variable)
	switch t.kind {
	case tNull:
		w = 0
	case tFloat:
		w = 4
	case tDouble:
		w = 8
	case tFixed:
		w = t.size
	case tArray, tMap:
		widthOf(t.items, open)
	case tUnion:
		for _, b := range t.branches {
			widthOf(b, open)
		}
	case tRecord:
		w = 0
		for i := range t.fields {
			fw := widthOf(t.fields[i].typ, open)
			if fw == variable || w == variable {
				w = variable // but go on: every type gets its width
				continue
			}
			w = min(w+fw, maxWidth)
		}
	}
	t.width, t.widthSet = w, true
	return w
}

// markFinite sets finite on every type reachable from root that has at least
// one value with an end. A record that holds itself with no union, array or
// map in between has none.
func markFinite(root *node) {
	var all []*node
	seen := map[*node]bool{}
	var collect func(t *node)
	collect = func(t *node) {
		if seen[t] {
			return
		}
		seen[t] = true
		for i := range t.fields {
			collect(t.fields[i].typ)
		}
		for _, b := range t.branches {
			collect(b)
		}
		if t.items != nil {
			collect(t.items)
		}
		all = append(all, t) // children first: one pass settles all but cycles
	}
	collect(root)
	for changed := true; changed; {
		changed = false
		for _, t := range all {
			if !t.finite && finiteNow(t) {
				t.finite, changed = true, true
			}
		}
	}
}

func finiteNow(t *node) bool {
	switch t.kind {
	case tRecord:
		for i := range t.fields {
			if !t.fields[i].typ.finite {
				return false
			}
		}
		return true
	case tUnion:
		for _, b := range t.branches {
			if b.finite {
				return true
			}
		}
		return false
	default:
		return true
	}
}
