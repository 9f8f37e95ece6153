//go:build !invariants

package live

func (f *File) check() {}

func (h *Head) checkIndex() error { return nil }
