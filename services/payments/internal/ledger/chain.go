package ledger

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// The tags keep the two kinds of hashes apart, and both from any other use of SHA-256.
const (
	transactionTag = "armlet/ledger/transaction/v1"
	linkTag        = "armlet/ledger/link/v1"
)

// Hash covers everything that is stored of a posted transaction.
func (p Posted) Hash() [sha256.Size]byte {
	b := make([]byte, 0, 512)
	text := func(s string) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	number := func(n int64) { b = binary.BigEndian.AppendUint64(b, uint64(n)) }
	t := p.Transaction
	text(transactionTag)
	text(t.ID)
	text(string(t.Purpose))
	text(t.Reference)
	number(t.Time.UnixMicro())
	number(int64(len(t.Postings)))
	for i, l := range t.Postings {
		text(l.Debit)
		text(l.Credit)
		number(l.Amount)
		text(l.Currency)
		text(string(l.Step))
		text(l.Hold)
		for _, s := range [...]Side{p.Entries[i].Debit, p.Entries[i].Credit} {
			number(s.Number)
			number(s.Balance)
			number(s.Held)
		}
	}
	return sha256.Sum256(b)
}

// Head is the end of a chain.
type Head struct {
	// Chain is its number, from 1.
	Chain int
	// Height is how many links it has, Hash that of the last, empty when there is none.
	Height int64
	Hash   []byte
}

// Next is the head after a link with transactions of these hashes was added.
func (h Head) Next(transactions [][sha256.Size]byte) Head {
	b := make([]byte, 0, len(linkTag)+24+sha256.Size*(1+len(transactions)))
	b = append(b, linkTag...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Chain))
	b = binary.BigEndian.AppendUint64(b, uint64(h.Height+1))
	b = binary.BigEndian.AppendUint64(b, uint64(len(h.Hash)))
	b = append(b, h.Hash...)
	for _, t := range transactions {
		b = append(b, t[:]...)
	}
	sum := sha256.Sum256(b)
	return Head{Chain: h.Chain, Height: h.Height + 1, Hash: sum[:]}
}

// Link is one step of a chain as it is stored: the transactions that were committed together.
type Link struct {
	Chain        int
	Height       int64
	Hash         []byte
	Transactions int
}

// Chained is a transaction as it is stored in a link.
type Chained struct {
	Posted
	Chain  int
	Height int64
	// Place is where in the link, from 0.
	Place int
	Hash  []byte
}

// Break is the first place where a chain does not hold.
type Break struct {
	Chain  int
	Height int64
	// Transaction is the one that is wrong, when it can be told.
	Transaction string
	Problem     string
}

func (b Break) String() string {
	if b.Transaction == "" {
		return fmt.Sprintf("link %d of chain %d: %s", b.Height, b.Chain, b.Problem)
	}
	return fmt.Sprintf("link %d of chain %d, transaction %s: %s", b.Height, b.Chain, b.Transaction, b.Problem)
}

// Verification is what was found of the whole ledger.
type Verification struct {
	// Links and Transactions are how many were found good before the break, or all.
	Links, Transactions int64
	// Broken is the first broken link by chain and height, nil when there is none.
	Broken *Break
	// Wrong are things that no chain covers and that do not follow from the postings: at most a few, in words.
	Wrong []string
}

// Intact says whether nothing is wrong.
func (v Verification) Intact() bool { return v.Broken == nil && len(v.Wrong) == 0 }

// Verifier walks through all chains. Give it the transactions by chain, height and place.
type Verifier struct {
	heads []Head
	links []Link
	// at is the link that is looked at, prev the head it is added to.
	at      int
	prev    Head
	hashes  [][sha256.Size]byte
	found   Verification
	highest map[int]int64
}

// NewVerifier checks transactions against the links, which are in order, up to the heads, of which there is one a chain, in
// order too. Links and transactions above their chain's head were added after it was read and are not looked at.
func NewVerifier(heads []Head, links []Link) *Verifier {
	v := &Verifier{heads: heads, highest: map[int]int64{}}
	for _, h := range heads {
		v.highest[h.Chain] = h.Height
	}
	for _, l := range links {
		if l.Height <= v.highest[l.Chain] {
			v.links = append(v.links, l)
		}
	}
	v.checkHeights()
	return v
}

// checkHeights finds chains that do not have every link from 1 to their head.
func (v *Verifier) checkHeights() {
	i := 0
	for _, h := range v.heads {
		for want := int64(1); want <= h.Height; want++ {
			if i == len(v.links) || v.links[i].Chain != h.Chain || v.links[i].Height != want {
				v.breakAt(h.Chain, want, "", "the link is missing")
				// What comes before is still looked at: it may be broken earlier.
				v.links = v.links[:i]
				return
			}
			i++
		}
	}
	if i < len(v.links) {
		v.breakAt(v.links[i].Chain, v.links[i].Height, "", "the chain has no head")
	}
}

func (v *Verifier) breakAt(chain int, height int64, transaction, problem string) {
	b := Break{Chain: chain, Height: height, Transaction: transaction, Problem: problem}
	old := v.found.Broken
	if old == nil || cmp.Or(cmp.Compare(chain, old.Chain), cmp.Compare(height, old.Height)) < 0 {
		v.found.Broken = &b
	}
}

// Add looks at the next transaction; more is false when no later one can change what was found.
func (v *Verifier) Add(t Chained) (more bool) {
	if t.Chain == 0 {
		v.breakAt(0, 0, t.Transaction.ID, "the transaction is in no chain")
		return false
	}
	if highest, ok := v.highest[t.Chain]; ok && t.Height > highest {
		return true
	}
	for v.at < len(v.links) && before(v.links[v.at], t) {
		if !v.close() {
			return false
		}
	}
	if v.at == len(v.links) || v.links[v.at].Chain != t.Chain || v.links[v.at].Height != t.Height {
		v.breakAt(t.Chain, t.Height, t.Transaction.ID, "the transaction belongs to a link that is not there")
		return false
	}
	if !v.checkPlace(t) {
		return false
	}
	sum := t.Posted.Hash()
	if !bytes.Equal(sum[:], t.Hash) {
		v.breakAt(t.Chain, t.Height, t.Transaction.ID, "what is stored is not what was posted")
		return false
	}
	v.hashes = append(v.hashes, sum)
	return true
}

// checkPlace finds what was removed from the link or added to it: the places count from 0 without a gap.
func (v *Verifier) checkPlace(t Chained) bool {
	switch want := len(v.hashes); {
	case t.Place > want && want < v.links[v.at].Transactions:
		v.breakAt(t.Chain, t.Height, "", missing(want, v.links[v.at].Transactions))
		return false
	case t.Place != want || want >= v.links[v.at].Transactions:
		v.breakAt(t.Chain, t.Height, t.Transaction.ID, "the transaction was added to the link")
		return false
	}
	return true
}

func missing(place, of int) string {
	return fmt.Sprintf("transaction %d of its %d was removed", place+1, of)
}

func before(l Link, t Chained) bool {
	return cmp.Or(cmp.Compare(l.Chain, t.Chain), cmp.Compare(l.Height, t.Height)) < 0
}

// close ends the link that is looked at.
func (v *Verifier) close() bool {
	l := v.links[v.at]
	if l.Chain != v.prev.Chain {
		v.prev = Head{Chain: l.Chain}
	}
	v.prev = v.prev.Next(v.hashes)
	switch {
	case len(v.hashes) != l.Transactions:
		v.breakAt(l.Chain, l.Height, "", missing(len(v.hashes), l.Transactions))
		return false
	case !bytes.Equal(v.prev.Hash, l.Hash):
		v.breakAt(l.Chain, l.Height, "", "its hash does not follow from its transactions and the link before")
		return false
	}
	v.found.Links++
	v.found.Transactions += int64(len(v.hashes))
	v.hashes = v.hashes[:0]
	v.at++
	if v.at == len(v.links) || v.links[v.at].Chain != l.Chain {
		return v.checkHead(l)
	}
	return true
}

// checkHead compares the last link of a chain with its head.
func (v *Verifier) checkHead(last Link) bool {
	for _, h := range v.heads {
		if h.Chain == last.Chain && h.Height == last.Height && !bytes.Equal(h.Hash, last.Hash) {
			v.breakAt(last.Chain, last.Height, "", "the head of the chain has another hash")
			return false
		}
	}
	return true
}

// Done ends the walk.
func (v *Verifier) Done() Verification {
	for v.at < len(v.links) && v.close() {
	}
	return v.found
}
