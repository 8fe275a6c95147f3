package party

import (
	"fmt"
	"regexp"
	"strings"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// Identity says how a party of any system names its account.
type Identity struct {
	Master    string            // the system whose parties are the accounts
	Instances map[string]string // instance by system
	// Reference matches an identifier that names a master party; its first group
	// is that party's native id.
	Reference *regexp.Regexp
	Normal    Normal

	anyCase *regexp.Regexp
}

// Normal says how both sides, what an identifier names and the master party's
// own native id, are made alike before they are compared. The zero value is what
// nearly everybody wants: blanks around an identifier do not count, nor does the
// case of what stands around the id.
type Normal struct {
	Blanks bool   // blanks around count
	Case   Case   // of ASCII letters
	Prefix string // taken away from the front of an id that begins with it
	Pad    string // one character, taken away from the front of an id
}

// Case says where the case of ASCII letters counts.
type Case string

// The zero Case is CaseOfIDs.
const (
	CaseOfIDs  Case = "ids"    // in ids only: crm-a5 names A5 where the reference is ^CRM-([A-Z0-9]+)$
	CaseExact  Case = "exact"  // everywhere
	CaseIgnore Case = "ignore" // nowhere: a5 and A5 are one id
)

// Prepare resolves the rules once. It must be called before the identity is
// used.
func (i *Identity) Prepare() error {
	var err error
	if i.anyCase, err = regexp.Compile("(?i)" + i.Reference.String()); err != nil {
		return fmt.Errorf("identity.reference, in any case: %w", err)
	}
	return nil
}

// named returns the native id of the master party that an identifier's code
// names, normalised.
func (i *Identity) named(code string) (id string, ok bool) {
	if !i.Normal.Blanks {
		code = strings.TrimSpace(code)
	}
	m := i.Reference.FindStringSubmatch(code)
	if m == nil && i.Normal.Case != CaseExact {
		m = i.inAnyCase(code)
	}
	if m == nil {
		return "", false
	}
	id = i.Normal.id(m[1])
	return id, id != ""
}

// inAnyCase matches a code in whose letters only the case is not the rule's. The
// id in it gets the case that the rule asks for, if it asks for one.
func (i *Identity) inAnyCase(code string) []string {
	m := i.anyCase.FindStringSubmatch(code)
	if m == nil || upper(m[1]) == lower(m[1]) {
		return m
	}
	for _, spelled := range []string{upper(code), lower(code)} {
		if exact := i.Reference.FindStringSubmatch(spelled); exact != nil {
			return exact
		}
	}
	return m
}

// account is the account of a party that names nobody: its own.
func (i *Identity) account(system, id string) change.ID {
	if system == i.Master {
		if normal := i.Normal.id(id); normal != "" {
			id = normal
		}
	}
	return canonical.EntityID(i.Instances[system], canonical.Party, id)
}

// id brings a master party's native id into the form in which it is compared.
func (n *Normal) id(id string) string {
	if !n.Blanks {
		id = strings.TrimSpace(id)
	}
	if n.Case == CaseIgnore {
		id = lower(id)
	}
	prefix := n.Prefix
	if n.Case == CaseIgnore {
		prefix = lower(prefix)
	}
	if cut := strings.TrimPrefix(id, prefix); cut != "" {
		id = cut
	}
	if n.Pad != "" {
		if cut := strings.TrimLeft(id, n.Pad); cut != "" || id == "" {
			id = cut
		} else {
			id = n.Pad // nothing but padding: the id 0
		}
	}
	return id
}

// lower and upper fold ASCII letters alone: no other letter has one other form
// everywhere.
func lower(s string) string { return shift(s, 'A', 'Z', 'a'-'A') }
func upper(s string) string { return shift(s, 'a', 'z', 'A'-'a') }

func shift(s string, from, to, by rune) string {
	return strings.Map(func(r rune) rune {
		if r >= from && r <= to {
			return r + by
		}
		return r
	}, s)
}
