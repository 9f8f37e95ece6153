package zwrite

import "github.com/wcfs/wcfs/internal/zodb/fault"

func (e *LockedError) Kind() fault.Kind    { return fault.Locked }
func (e *DamageError) Kind() fault.Kind    { return fault.Damaged }
func (e *LostError) Kind() fault.Kind      { return fault.Unreachable }
func (e *UncertainError) Kind() fault.Kind { return fault.Uncertain }
