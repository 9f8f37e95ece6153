package remote

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

func (m *model) setHooks() {
	rnd := m.fork()
	var mu sync.Mutex
	chance := func(n int) bool {
		mu.Lock()
		defer mu.Unlock()
		return rnd.IntN(n) == 0
	}
	set(&m.sv.listed, func(oids []zodb.Oid) []zodb.Oid {
		if chance(4) {
			return nil
		}
		oids = append(oids, oids...)
		slices.Reverse(oids)
		return oids
	})
	set(&m.sv.dialing, func(ctx context.Context) error {
		out := m.away.Load()
		if out == nil || time.Now().After(out.until) {
			return nil
		}
		if out.hangs {
			select {
			case <-ctx.Done():
			case <-time.After(time.Until(out.until)):
			}
		}
		return errors.New("connection refused")
	})
	set(&m.sv.calling, func(s *session, op string) error {
		if m.refuses && op == "transactions" && chance(4) {
			m.refused.Add(1)
			return errors.New("the server does not like that")
		}
		if op == "transaction" && chance(300) {
			s.fail(errors.New("cut on the way"))
		}
		return nil
	})
}

func (m *model) commit(rnd *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.full.RandomTxn(rnd, 12)
	for i := range t.Records {
		r := &t.Records[i]
		r.SameAs = 0
		r.Data = r.Data[:min(len(r.Data), 8)]
	}
	m.full.Commit(t)
	m.sv.commitTxn(t)
}

func (m *model) commits(rnd *rand.Rand) {
	for range 80 {
		m.commit(rnd)
		if rnd.IntN(3) > 0 {
			time.Sleep(ms(rnd, 1000))
		}
	}
}

func (m *model) breaks(rnd *rand.Rand) {
	for range 12 {
		time.Sleep(ms(rnd, 5000))
		if rnd.IntN(2) == 0 {
			length := ms(rnd, 5000)
			if m.longOutages {
				length = ms(rnd, 60_000)
			}
			m.away.Store(&outage{time.Now().Add(length), rnd.IntN(2) == 0})
		}
		m.sv.breakAll(errors.New("connection reset"))
		if !m.longOutages {
			time.Sleep(8 * time.Second) // outages do not make a long one together
		}
	}
}

// tellsTwice has sessions tell transactions that they have told already.
func (m *model) tellsTwice(rnd *rand.Rand) {
	for range 4 {
		time.Sleep(ms(rnd, 12_000))
		m.sv.mu.Lock()
		sessions := slices.Clone(m.sv.sessions)
		m.sv.mu.Unlock()
		for _, s := range sessions {
			s.commits(m.at0, []zodb.Oid{99})
			s.commits(m.at0, []zodb.Oid{99})
		}
	}
}

func (m *model) packsNow(rnd *rand.Rand) {
	for range 3 {
		time.Sleep(ms(rnd, 15_000))
		if !m.packs {
			return
		}
		m.mu.Lock()
		m.packed = true
		txns := m.full.Txns
		m.sv.pack(txns[len(txns)-1-min(len(txns)-1, rnd.IntN(6))].Tid)
		m.mu.Unlock()
	}
}
