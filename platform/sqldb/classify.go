package sqldb

import "github.com/armlet-pay/armlet/platform/fault"

// The reasons of the faults that [DB.InTx] returns for the database's own troubles.
const (
	// ReasonUnavailable: the database cannot be reached or is not ready.
	ReasonUnavailable = "DATABASE_UNAVAILABLE"
	// ReasonContention: the transaction lost every one of its attempts against others.
	ReasonContention = "DATABASE_CONTENTION"
)

// Classify gives the troubles of the database a kind that callers may act on. An error that already is a fault, or that
// belongs to the statement (a constraint, a mistake in the SQL), stays what it is; the cause stays in the chain always.
func Classify(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := fault.As(err); ok {
		return err
	}
	switch {
	case IsUnavailable(err):
		return fault.New(fault.Unavailable, ReasonUnavailable, "the database cannot be reached: try again later").WithCause(err)
	case IsConflict(err):
		return fault.New(fault.Aborted, ReasonContention, "too many changes at once: try again").WithCause(err)
	}
	return err
}
