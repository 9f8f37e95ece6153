package storage

import "github.com/wcfs/wcfs/internal/zodb/fault"

// OpenReason is the kind of an OpenError.
type OpenReason = fault.Kind

// Kinds of an OpenError.
const (
	Unreachable  = fault.Unreachable
	NotADatabase = fault.NotADatabase
	BadURL       = fault.BadURL
)
