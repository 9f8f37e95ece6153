package cli

import (
	"bufio"
	"net"
	"path/filepath"
	"strings"
	"sync"

	"github.com/stretchr/testify/require"
	"github.com/wcfs/wcfs/t/harness"
)

// relay stands between clients and a server. It may cut connections anywhere.
type relay struct {
	z      *harness.ZEO
	socket string
	l      net.Listener
	work   sync.WaitGroup

	// request and reply are asked about each message, by its method or none, whether it
	// goes on. If not, its connection is cut. They may be nil.
	request, reply func(method string) bool
}

// newRelay starts one, for as long as the test.
func newRelay(z *harness.ZEO, request, reply func(method string) bool) *relay {
	z.T.Helper()
	r := &relay{z: z, socket: filepath.Join(z.T.TempDir(), "relay"), request: request, reply: reply}
	var err error
	r.l, err = net.Listen("unix", r.socket)
	require.NoError(z.T, err)
	r.work.Go(func() {
		for {
			conn, err := r.l.Accept()
			if err != nil {
				return
			}
			r.work.Go(func() { r.serve(conn) })
		}
	})
	z.T.Cleanup(func() {
		r.l.Close()
		r.work.Wait()
	})
	return r
}

func (r *relay) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("unix", r.z.Path("zeo"))
	if err != nil {
		return
	}
	defer server.Close()
	var both sync.WaitGroup
	pass := func(from, to net.Conn, ask func(string) bool) {
		both.Go(func() {
			defer client.Close()
			defer server.Close()
			for in := bufio.NewReader(from); ; {
				frame, err := harness.ReadZEO(in)
				if err != nil || ask != nil && !ask(methodOf(frame)) {
					return
				}
				if _, err := to.Write(frame); err != nil {
					return
				}
			}
		})
	}
	pass(client, server, r.request)
	pass(server, client, r.reply)
	both.Wait()
}

// methodOf finds the name of one of the methods that tests ask about.
func methodOf(frame []byte) string {
	head := string(frame[:min(len(frame), 60)])
	for _, method := range []string{"storea", "vote", "tpc_finish", "tpc_begin", "tpc_abort", "new_oids", ".reply"} {
		if strings.Contains(head, method) {
			return method
		}
	}
	return ""
}

// once returns a hook that calls f for the first message of a method, and lets all pass
// but those that f does not.
func once(method string, f func() bool) func(string) bool {
	var first sync.Once
	return func(m string) (goOn bool) {
		goOn = true
		if m == method {
			first.Do(func() { goOn = f() })
		}
		return goOn
	}
}
