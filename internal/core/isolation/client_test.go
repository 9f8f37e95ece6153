package isolation

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/core/live/livetest"
	"github.com/wcfs/wcfs/internal/zodb/storage"
)

// behaviour is what a client does when its time comes.
type behaviour int

const (
	good    behaviour = iota
	leaves            // says bye, also in the middle of things
	stalls            // acknowledges nothing any more
	refuses           // nak
	closes            // closes the link without bye, and lives on
	dies              // ends by itself
	behaviours
)

// client is a process with the file mapped, and a link.
type client struct {
	s         *schedule
	thread    int
	behaviour behaviour
	prompt    bool // does at once what pins say
	link      *Link
	proc      *fakeProcess
	ctx       context.Context // ends with the process
	bad       chan struct{}   // closed when it begins to behave

	mu      sync.Mutex
	mapping [livetest.Blks]zodb.Tid // what each block is mapped from
	watched bool                    // pins are for it: from the first request on until the answer to "-"
	at      zodb.Tid                // of the last answered request; 0: nothing is promised
	asked   zodb.Tid                // view of the last request
	asking  bool                    // a request is not answered
	stream  int
	answers map[string]chan string
	gone    bool // said bye, or closed
}

// zeros is what a block is mapped from that is behind the end of head/.
const zeros zodb.Tid = 1 << 62

func (s *schedule) newClient(thread int, b behaviour) *client {
	ctx, cancel := context.WithCancel(s.Ctx)
	c := &client{s: s, thread: thread, behaviour: b, prompt: s.Intn(2) == 0, ctx: ctx, bad: make(chan struct{}), answers: make(map[string]chan string)}
	c.proc = &fakeProcess{c: c, cancel: cancel, ended: make(chan struct{})}
	for i := range c.mapping {
		c.mapping[i] = live.ToHead
	}
	link, err := s.engine.Open(func() (Process, error) { return c.proc, nil })
	if err != nil {
		panic(err) // there is no bound
	}
	c.link = link
	return c
}

// run is the life of the client: requests and reads, until the end.
func (c *client) run() {
	var threads sync.WaitGroup
	defer threads.Wait()
	threads.Go(c.pinner)
	threads.Go(c.reader)
	if c.behaviour != good {
		threads.Go(func() {
			time.Sleep(time.Duration(c.s.Intn(1500)) * time.Millisecond)
			c.misbehave()
		})
	}
	for !c.s.isDone() && c.alive() {
		c.request()
		time.Sleep(time.Duration(c.s.Intn(400)) * time.Millisecond)
	}
	c.leave()
}

func (c *client) alive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.gone && c.ctx.Err() == nil
}

func (c *client) misbehave() {
	close(c.bad)
	switch c.behaviour {
	case leaves:
		c.leave()
	case closes:
		c.forgetView()
		c.link.Release()
	case dies:
		c.forgetView()
		c.proc.end()
	}
}

// forgetView ends what is promised to the client.
func (c *client) forgetView() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone, c.at = true, 0
}

// leave says bye, if somebody is there who can.
func (c *client) leave() {
	if c.ctx.Err() != nil {
		return
	}
	c.forgetView()
	_ = c.link.Write([]byte("99999 bye\n"))
	c.link.Release()
}

// request sets up, moves or removes the watch, at a random view that is not
// before the last one.
func (c *client) request() {
	c.mu.Lock()
	from := c.at
	c.mu.Unlock()
	msg, at := "-", zodb.Tid(0)
	if tids := c.s.Tids(); c.s.Intn(5) > 0 {
		at = tids[c.s.Intn(len(tids))]
		if at = max(at, from); at > c.s.Head.At() && c.s.Intn(2) == 0 {
			at = max(c.s.Head.At(), from)
		}
		msg = "@" + at.String()
	}
	answer := c.ask(fmt.Sprintf("watch %s %s", livetest.File, msg), at)
	switch {
	case answer == "ok":
		c.s.Kernel.Stat() // it may have grown
		c.mu.Lock()
		if !c.gone {
			c.at, c.asking = at, false
		}
		if at == 0 {
			c.unmap()
		} else {
			c.mapEnd()
		}
		c.mu.Unlock()
	case strings.Contains(answer, "too far away back"):
		c.mu.Lock()
		c.asked = c.at
		c.mu.Unlock()
	case answer != "":
		c.s.Fail("client %d: %s: %s", c.thread, msg, answer)
	}
}

// unmap is what a client does when it has left the file. It is called with c.mu held.
func (c *client) unmap() {
	c.watched = false
	for i := range c.mapping {
		c.mapping[i] = live.ToHead
	}
}

// mapEnd maps zeros behind the end that the file has at the view that was asked for
// last, and head/ before it. Blocks behind the end of head/ and not behind that one
// are pinned. It is called with c.mu held.
func (c *client) mapEnd() {
	for blk, from := range c.mapping {
		switch beyond := blk >= c.s.EndAt(c.asked); {
		case from == live.ToHead && beyond:
			c.mapping[blk] = zeros
		case from == zeros && !beyond:
			c.mapping[blk] = live.ToHead
		}
	}
}

// ask sends a request for view at, 0 to leave, and returns the answer, "" if there is
// none.
func (c *client) ask(msg string, at zodb.Tid) string {
	c.mu.Lock()
	c.asking = true
	if at != 0 {
		c.watched, c.asked = true, at
		c.mapEnd()
	}
	c.stream += 2
	id := fmt.Sprint(c.stream - 1)
	answer := make(chan string, 1)
	c.answers[id] = answer
	c.mu.Unlock()
	if err := c.link.Write([]byte(id + " " + msg + "\n")); err != nil {
		return ""
	}
	select {
	case text := <-answer:
		return text
	case <-c.ctx.Done():
	case <-c.s.done:
	}
	return ""
}

// Read gives the pinner the bytes of the link.
func (c *client) Read(dest []byte) (int, error) { return c.link.Read(c.ctx, dest) }

// pinner reads the link and does what pins say, one after another, each in its
// own time.
func (c *client) pinner() {
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		id, msg, _ := strings.Cut(lines.Text(), " ")
		if !strings.HasPrefix(msg, "pin ") {
			c.mu.Lock()
			if answer := c.answers[id]; answer != nil {
				answer <- msg
			}
			c.mu.Unlock()
			continue
		}
		c.slow(500 * time.Millisecond)
		if !c.pin(id, msg) {
			// A client that breaks the protocol is promised nothing more.
			_, _ = io.Copy(io.Discard, c)
			return
		}
	}
}

// slow takes its time, if the client is not prompt.
func (c *client) slow(most time.Duration) {
	if c.prompt {
		most = 20 * time.Millisecond
	}
	c.s.Nap(most)
}

// pin maps what the message says and acknowledges it.
func (c *client) pin(id, msg string) bool {
	select {
	case <-c.bad:
		switch c.behaviour {
		case stalls:
			return false
		case refuses:
			_ = c.link.Write([]byte(id + " nak: no\n"))
			return false
		}
	default:
	}
	var oid, rev string
	var blk int
	if _, err := fmt.Sscanf(msg, "pin %s #%d @%s", &oid, &blk, &rev); err != nil {
		c.s.Fail("client %d: %q: %s", c.thread, msg, err)
		return false
	}
	to := live.ToHead
	if rev != "head" {
		v, ok := storage.ParseID(rev)
		if !ok {
			c.s.Fail("client %d: %q", c.thread, msg)
		}
		to = zodb.Tid(v)
	}
	c.mu.Lock()
	if !c.watched {
		c.mu.Unlock()
		c.answerUnwatched(id)
		return true
	}
	if c.at != 0 && !c.asking && to != live.ToHead && to > c.at {
		c.s.Fail("client %d @%d: %q", c.thread, c.at, msg)
	}
	c.mapping[blk] = to
	c.mapEnd()
	c.mu.Unlock()
	c.slow(100 * time.Millisecond)
	_ = c.link.Write([]byte(id + " ack\n"))
	return true
}

// answerUnwatched answers a pin of a watch that is gone, or does not.
func (c *client) answerUnwatched(id string) {
	switch c.s.Intn(3) {
	case 0:
		_ = c.link.Write([]byte(id + " ack\n"))
	case 1:
		_ = c.link.Write([]byte(id + " nak: not watched\n"))
	}
}

// reader touches the memory at random: a fault of a page that is mapped from head
// and not cached sends a READ.
func (c *client) reader() {
	for !c.s.isDone() && c.ctx.Err() == nil {
		c.s.Nap(200 * time.Millisecond)
		from := int64(c.s.Intn(c.s.Pages()))
		to := min(from+1+int64(c.s.Intn(3)), int64(c.s.Pages()))
		c.mu.Lock()
		mapped := c.mapping[from*c.s.Kernel.Page/c.s.BlkSize] == live.ToHead && c.ctx.Err() == nil
		if mapped {
			c.proc.faults.Add(1)
		}
		c.mu.Unlock()
		if mapped {
			_ = c.s.Kernel.ReadPages(c.s.Ctx, c.ctx.Done(), c.thread, from, to) // EIO while it is being killed
			c.proc.faults.Done()
		}
		c.check()
		time.Sleep(time.Millisecond)
	}
}

// check looks at all that the client sees.
func (c *client) check() {
	for i := range int64(c.s.Pages()) {
		blk := i * c.s.Kernel.Page / c.s.BlkSize
		c.mu.Lock()
		at, from := c.at, c.mapping[blk]
		if promised := at != 0 && !c.asking && c.ctx.Err() == nil; promised {
			seen, ok := c.s.Kernel.PageID(i) // with the mapping: it must not change in between
			if from == zeros {
				seen, ok = livetest.ID{}, true
			} else if from != live.ToHead {
				seen, ok = c.s.PageID(from, i), true
			} else if c.s.Kernel.Beyond(i) {
				ok = false
				if c.prompt && c.behaviour == good {
					c.s.Fail("client %d @%d gets SIGBUS from page %d", c.thread, at, i)
				}
			}
			if ok && seen != c.s.PageID(at, i) {
				c.s.Fail("client %d @%d sees page %d as %x (mapped from %s)", c.thread, at, i, seen, revText(from))
			}
		}
		c.mu.Unlock()
	}
}

// checkFate requires that the client was killed only if it deserved that.
func (c *client) checkFate() {
	c.s.mu.Lock()
	killed := c.proc.killed
	c.s.mu.Unlock()
	deserved := c.behaviour == stalls || c.behaviour == refuses || c.behaviour == closes
	if killed && !deserved {
		c.s.Fail("client %d (behaviour %d) was killed", c.thread, c.behaviour)
	}
}
