package device

import "crypto/sha256"

// Defect says how a record is broken. The numbers are those of the contract.
type Defect uint8

// The defects; NoDefect when there is none.
const (
	NoDefect Defect = iota
	EntryMissing
	EntryChanged
	EndChanged
	ContentChanged
	CheckpointDiffers
	CheckpointForged
)

// Check recomputes a piece of a record, entry by entry in order, and keeps the first defect.
type Check struct {
	Verified int64
	BrokenAt int64 // 0 while nothing is broken
	Defect   Defect
	Last     *Entry // the last that was in order

	next int64             // the sequence, or position, that has to come
	log  bool              // by position
	hash [sha256.Size]byte // of the log so far
}

// NewChainCheck checks a chain from the entry with the sequence first on.
func NewChainCheck(first int64) *Check { return &Check{next: first} }

// NewLogCheck checks the log from the position after base on, where base is the end of what comes before.
func NewLogCheck(base Head) *Check {
	return &Check{next: base.Sequence + 1, log: true, hash: base.Hash}
}

// Break notes a defect unless there is one already.
func (c *Check) Break(at int64, d Defect) {
	if c.Defect == NoDefect {
		c.BrokenAt, c.Defect = at, d
	}
}

// Next looks at one entry and reports whether the record is in order up to here.
func (c *Check) Next(e Entry) bool {
	number := e.Sequence
	if c.log {
		number = e.Position
	}
	switch {
	case c.Defect != NoDefect:
	case number != c.next:
		c.Break(c.next, EntryMissing)
	case e.Hash != e.sum(e.Previous), c.log && e.LogHash != e.Next(c.hash):
		c.Break(number, EntryChanged)
	default:
		c.next, c.hash, c.Last = number+1, e.LogHash, &e
		c.Verified++
	}
	return c.Defect == NoDefect
}

// End compares the end of the record with what the thing, or the log's head, says it is.
func (c *Check) End(head Head) {
	switch {
	case c.next != head.Sequence+1:
		c.Break(c.next, EntryMissing)
	case c.Last == nil: // nothing was looked at
	case c.log && c.hash != head.Hash, !c.log && c.Last.Hash != head.Hash:
		c.Break(head.Sequence, EndChanged)
	}
}

// Through notes an entry that is missing at the end when the record was to reach last.
func (c *Check) Through(last int64) {
	if c.next <= last {
		c.Break(c.next, EntryMissing)
	}
}

// NextNumber is the sequence or position after the last that was in order.
func (c *Check) NextNumber() int64 { return c.next }
