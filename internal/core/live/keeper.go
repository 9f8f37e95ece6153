package live

import (
	"context"
	"sync"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

const (
	// newsBatch is of how many blocks the keeper gathers the revisions before it
	// tells of these.
	newsBatch = 1024

	// expireBatch bounds how many blocks are let go while others wait for the lock.
	expireBatch = 256
)

// keeper looks after what is preserved: it tells of what is new, and lets go what
// is old. It is one goroutine, so what it has to do never piles up: it is in what
// is preserved, which has a budget.
type keeper struct {
	head *Head
	wake chan struct{}
	wg   sync.WaitGroup
}

func newKeeper(h *Head) *keeper {
	k := &keeper{head: h, wake: make(chan struct{}, 1)}
	k.wg.Go(k.run)
	return k
}

func (k *keeper) wait() { k.wg.Wait() }

// poke makes the keeper look whether there is something to do.
func (k *keeper) poke() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *keeper) run() {
	var tooOld <-chan time.Time
	for {
		select {
		case <-k.head.ctx.Done():
			return
		case <-k.wake:
		case <-tooOld:
		}
		if k.tell() {
			k.poke() // there may be more
		}
		tooOld = nil
		if left := k.expire(); left > 0 {
			tooOld = time.After(left)
		}
	}
}

// blkRevs is the blocks of a file that have one revision.
type blkRevs struct {
	oid zodb.Oid
	rev zodb.Tid
}

// tell settles what has to be settled of the news, and tells which revisions
// there are, of each once. It returns false if there was nothing new.
func (k *keeper) tell() bool {
	p := k.head.preserved
	told := make(map[blkRevs]struct{})
	n := 0
	for ; n < newsBatch && k.head.ctx.Err() == nil; n++ {
		old := p.takeNews()
		if old == nil {
			break
		}
		if revs, ok := p.revsOf(k.head.ctx, old); ok {
			told[revs] = struct{}{}
		}
	}
	for revs := range told {
		if k.head.ctx.Err() == nil {
			k.head.cfg.Observer.Preserved(revs.oid, revs.rev)
		}
	}
	return n > 0
}

// takeNews returns the oldest of which nobody was told, or nil.
func (p *Preserved) takeNews() *Old {
	p.mu.Lock()
	defer p.mu.Unlock()
	front := p.news.Front()
	if front == nil {
		return nil
	}
	old := front.Value.(*Old)
	p.hear(old)
	return old
}

// revsOf returns the revision of old. It is settled only if somebody has asked for
// a view that is old enough.
func (p *Preserved) revsOf(ctx context.Context, old *Old) (revs blkRevs, ok bool) {
	p.mu.Lock()
	oldest, asked := p.asked[old.Oid]
	settle := !old.settled && old.buf != nil && asked && oldest <= old.From
	p.mu.Unlock()
	if settle {
		_ = p.settle(ctx, old) // if it fails, nobody is told
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return blkRevs{old.Oid, old.From}, old.seq > 0
}

// expire lets go what nobody needs any more: what ended before history does, and
// what is kept for too long. It returns in how long something is, 0 for never.
func (k *keeper) expire() time.Duration {
	h := k.head
	h.mu.Lock()
	kept := h.kept
	h.mu.Unlock()
	for {
		dropped, left := h.preserved.expire(kept, h.cfg.PreserveTime, expireBatch)
		if dropped < expireBatch {
			return left
		}
	}
}

// expire drops up to n blocks that only views before kept see, or that were added
// longer than age ago, if age is not 0. It returns how many these were, and how
// much is left to the oldest of the others; 0 if it may stay.
func (p *Preserved) expire(kept zodb.Tid, age time.Duration, n int) (dropped int, left time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ; dropped < n && p.order.Len() > 0; dropped++ {
		old := p.order.Front().Value.(*Old)
		left = max(0, age-p.now().Sub(old.born))
		if old.Until >= kept && (age == 0 || left > 0) {
			return dropped, left
		}
		p.drop(old)
	}
	return dropped, 0
}
