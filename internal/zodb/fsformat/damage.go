package fsformat

import (
	"errors"
	"fmt"
	"io"
)

// DamageError says that what stands at Pos cannot be right, and that it is not a matter
// of waiting.
type DamageError struct {
	Pos    int64
	Record string // "transaction" or "data record"
	What   string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%s at position %d: %s", e.Record, e.Pos, e.What)
}

// DamagedTxn returns a *DamageError about a transaction.
func DamagedTxn(pos int64, format string, args ...any) error {
	return &DamageError{pos, "transaction", fmt.Sprintf(format, args...)}
}

// DamagedRecord returns a *DamageError about a data record.
func DamagedRecord(pos int64, format string, args ...any) error {
	return &DamageError{pos, "data record", fmt.Sprintf(format, args...)}
}

// AsDamage turns the error of a read for what is at pos into damage if the file was too
// short. Errors of the operating system stay what they are.
func AsDamage(pos int64, err error) error {
	if isShort(err) {
		return DamagedRecord(pos, "%s", io.ErrUnexpectedEOF)
	}
	return err
}

// IsDamage reports whether err is a *DamageError.
func IsDamage(err error) bool {
	var damage *DamageError
	return errors.As(err, &damage)
}

// isShort reports whether err says that a file ended where more was read.
func isShort(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
