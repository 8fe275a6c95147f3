package company

// Case is a kind of thing that goes wrong in a feed or a business, of which the
// generator counts how often it happened.
type Case uint8

// The cases.
const (
	CaseSnapshot Case = iota
	CaseRedelivered
	CaseRewind
	CaseOvertaken
	CasePoison
	CaseUnmappable
	CaseOversized
	CaseUnknownSchema
	CaseSchemaChange
	CasePlaceholder
	CaseDeleted
	CaseZeroFilledDelete
	CaseRecreated
	CaseRecreatedRedelivered // delete, tombstone and re-create, all again
	CaseLateLink
	CaseWrongLink
	CaseRelinkedAndBack
	CaseLinkRemoved
	CaseNoLink
	CaseDanglingLink
	CaseTwoLinks
	CaseSecondDebtor
	CaseDocumentMoved
	CaseNoParty
	CasePartlyPaid
	CasePaidInParts
	CasePaymentUndone
	CaseCreditNote
	CaseVoid
	CaseSeveralBills
	CaseDiscount
	CaseLost
	CaseUndecided
	CaseDealDeleted
	CaseDraftDeleted
	CaseParentDeleted // header gone, children left
	CaseChildFirst    // children whose header never comes
	CaseLineMoved
	CaseMovedLineDeleted
	CaseRenamed
	CaseCustomerDeleted
	CaseAddressDeleted
	CaseTerminated
	CaseSecondOrder
	CaseOrderWithoutDeal
	CaseOrderRewritten // cancelled and written anew
	CaseSecondBilled   // a deal with two orders that are both fulfilled
	CaseLongCycle
	CaseInAdvance // billed before the contract is live
	CasePartCredit
	CaseNamelessCredit // a credit that is called a bill
	CaseOverpaid
	CaseVoidPaid
	CasePaidBefore // paid before the bill is issued
	caseCount
)

var caseNames = [caseCount]string{
	"snapshot", "redelivered", "rewind", "overtaken", "poison", "unmappable", "oversized", "unknown_schema", "schema_change",
	"placeholder", "deleted", "zero_filled_delete", "recreated", "recreated_redelivered", "late_link", "wrong_link", "relinked_and_back", "link_removed", "no_link",
	"dangling_link", "two_links", "second_debtor", "document_moved", "no_party", "partly_paid", "paid_in_parts", "payment_undone",
	"credit_note", "void", "several_bills", "discount", "lost", "undecided", "deal_deleted", "draft_deleted", "parent_deleted",
	"child_first", "line_moved", "moved_line_deleted", "renamed", "customer_deleted", "address_deleted", "terminated", "second_order",
	"order_without_deal", "order_rewritten", "second_billed", "long_cycle", "in_advance", "part_credit", "nameless_credit", "overpaid", "void_paid",
	"paid_before",
}

func (c Case) String() string { return caseNames[c] }

// Cases returns how often each case has happened in the stream.
// snapshot too.
func (g *Generator) Cases() map[string]int64 {
	out := make(map[string]int64, caseCount)
	for c, n := range g.cases {
		out[caseNames[c]] = n
	}
	return out
}

// seen counts a case. What happened before the snapshot left no records, so
// that it is not counted.
func (g *Generator) seen(c Case) {
	if g.systems[0].streaming {
		g.cases[c]++
	}
}
