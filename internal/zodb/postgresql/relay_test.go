package postgresql

import (
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// relay is a socket before that of a server, which is some time away: half of it on each
// way.
type relay struct {
	url   string // of the database by way of the relay
	away  time.Duration
	to    string
	trips atomic.Int64 // times that a client has said something after the server had

	running sync.WaitGroup
}

// newRelay returns a relay before the server of a database.
func newRelay(t testing.TB, database string, away time.Duration) *relay {
	t.Helper()
	dir, err := os.MkdirTemp("", "") // that of the test may be too long for a socket
	require.NoError(t, err)
	u, err := url.Parse(database)
	require.NoError(t, err)
	query := u.Query()
	socket := ".s.PGSQL." + query.Get("port")
	r := &relay{away: away, to: filepath.Join(query.Get("host"), socket)}
	query.Set("host", dir)
	u.RawQuery = query.Encode()
	r.url = u.String()
	l, err := net.Listen("unix", filepath.Join(dir, socket))
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = l.Close()
		r.running.Wait()
		require.NoError(t, os.RemoveAll(dir))
	})
	r.running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			r.running.Go(func() { r.serve(client) })
		}
	})
	return r
}

func (r *relay) serve(client net.Conn) {
	server, err := net.Dial("unix", r.to)
	if err != nil {
		_ = client.Close()
		return
	}
	var answered atomic.Bool
	var both sync.WaitGroup
	both.Go(func() {
		r.carry(server, client, func() {
			if answered.Swap(false) {
				r.trips.Add(1)
			}
		})
	})
	both.Go(func() { r.carry(client, server, func() { answered.Store(true) }) })
	both.Wait()
}

// parcel is bytes that are on their way until due.
type parcel struct {
	data []byte
	due  time.Time
}

// carry brings what from says to to, later. Nothing waits for what was sent before.
func (r *relay) carry(to, from net.Conn, said func()) {
	defer to.Close()
	way, free := make(chan parcel, 1<<8), make(chan []byte, 1<<8)
	var writing sync.WaitGroup
	defer writing.Wait()
	defer close(way)
	writing.Go(func() {
		defer io.Copy(io.Discard, from)
		for p := range way {
			sleepUntil(p.due)
			if _, err := to.Write(p.data); err != nil {
				return
			}
			select {
			case free <- p.data[:cap(p.data)]:
			default:
			}
		}
	})
	for {
		var data []byte
		select {
		case data = <-free:
		default:
			data = make([]byte, 64<<10)
		}
		n, err := from.Read(data)
		if err != nil {
			return
		}
		said()
		way <- parcel{data[:n], time.Now().Add(r.away / 2)}
	}
}

// sleepUntil sleeps until a moment. The function of package time may take a millisecond longer, since
// the runtime waits for the network with that precision (netpoll_epoll.go of Go).
func sleepUntil(due time.Time) {
	if left := time.Until(due); left > 0 {
		pause := unix.NsecToTimespec(int64(left))
		_ = unix.Nanosleep(&pause, nil) // a signal only makes it shorter
	}
}
