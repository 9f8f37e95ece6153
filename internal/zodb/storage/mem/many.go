package mem

import (
	"context"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/storage"
)

var _ storage.ManyLoader = (*Storage)(nil)

// AnswerMany makes s, and the handles that are opened from it afterwards, load many objects
// with one question. A type that embeds a Storage and has another Load needs another LoadMany
// then.
func (s *Storage) AnswerMany(on bool) { s.many.Store(on) }

// LoadsMany says what AnswerMany was told: see storage.Many.
func (s *Storage) LoadsMany() bool { return s.many.Load() }

// LoadMany implements storage.ManyLoader. The hook is called for one object after the other.
func (s *Storage) LoadMany(ctx context.Context, xids []zodb.Xid) []storage.Loaded {
	s.asked.Add(1)
	all := make([]storage.Loaded, len(xids))
	for i, xid := range xids {
		all[i].Buf, all[i].Serial, all[i].Err = s.load(ctx, xid)
	}
	return all
}

// Questions returns how often Load and LoadMany were called: over a network each is a way to
// the server and back.
func (s *Storage) Questions() int64 { return s.asked.Load() }
