package zeo

import "github.com/wcfs/wcfs/internal/zodb/storage"

// reply is what a call was answered with. Byte strings of value are parts of frame.
type reply struct {
	value any
	frame *storage.Buf
}

// release gives the memory of the frame back. Nothing of value may be in use any more.
// Replies that are not released are left to the garbage collector.
func (r reply) release() {
	if r.frame != nil {
		r.frame.Release()
	}
}
