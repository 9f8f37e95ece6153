package isolation

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/core"
	"github.com/wcfs/wcfs/internal/core/live"
	"github.com/wcfs/wcfs/internal/serve/proc"
)

// The parent may reap a client before we kill it: it is dead, as it should be.
func TestKillOfAReapedProcessIsNoFailure(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	require.NoError(t, cmd.Start())
	h, err := proc.OfThread(cmd.Process.Pid)
	require.NoError(t, err)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	l := &Link{proc: h, dead: make(chan struct{}), engine: &Engine{cfg: Config{Observer: core.Alone{}}}}
	close(l.dead)
	require.NoError(t, l.kill(time.Second))
}

// stuckProcess is a process that no signal ends.
type stuckProcess struct {
	doomed  bool
	signals []syscall.Signal
}

func (p *stuckProcess) Pid() int           { return 1234 }
func (p *stuckProcess) HasThread(int) bool { return false }
func (p *stuckProcess) Doomed() bool       { return p.doomed }
func (p *stuckProcess) Close()             {}
func (p *stuckProcess) Signal(sig syscall.Signal) error {
	p.signals = append(p.signals, sig)
	return nil
}

func (p *stuckProcess) Wait(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestClientThatMayRunAgainAfterSIGKILLIsFatal: nobody gets the data that it must not
// see. One that only has not ended yet does not matter any more.
func TestClientThatMayRunAgainAfterSIGKILLIsFatal(t *testing.T) {
	for _, doomed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBusy(t)
			defer b.close()
			var fatal error
			b.engine.cfg.Observer = failing(func(err error) { fatal = err })
			p := &stuckProcess{doomed: doomed}
			l, err := b.engine.Open(func() (Process, error) { return p, nil })
			require.NoError(t, err)
			require.NoError(t, l.Write(fmt.Appendf(nil, "1 watch %s @%s\n", zodb.Oid(1), b.at)))
			synctest.Wait()
			b.commit()
			reader, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() {
				reply, err := b.file.Read(reader, live.Request{N: 16})
				if err == nil {
					reply.Release()
				}
				done <- err
			}()
			time.Sleep(2 * pinTimeout)
			synctest.Wait()
			require.Equal(t, []syscall.Signal{syscall.SIGBUS, syscall.SIGKILL}, p.signals)
			require.Equal(t, !doomed, fatal != nil)
			select {
			case err := <-done:
				require.True(t, doomed, "data was released while the client could see it")
				require.NoError(t, err)
			default:
				require.False(t, doomed, "the READ still waits")
				cancel()
				require.ErrorIs(t, <-done, context.Canceled)
			}
		})
	}
}

// A client that refuses a pin and closes the link at once has not done what the pin
// says, and goes on living.
func TestClientThatRefusesAndClosesIsEnded(t *testing.T) {
	h, _ := newWorldHead(t)
	e, end := engineOf(t, h)
	defer end()
	proc := newMortal()
	l, err := e.Open(func() (Process, error) { return proc, nil })
	require.NoError(t, err)
	l.mu.Lock()
	l.stream = 2
	l.messages[2] = &message{stream: 2, reply: make(chan string, 1), failed: &pinError{deadline: time.Now().Add(time.Minute)}}
	l.mu.Unlock()
	require.NoError(t, l.Write([]byte("2 nak: no\n")))
	l.Release()
	within(t, "the client is ended", func() { <-proc.dead })
}

// TestClientThatEndsJustBeforeItsSignal has ended, as it should: its handle is there for
// the signal.
func TestClientThatEndsJustBeforeItsSignal(t *testing.T) {
	for _, signal := range []string{"<- SIGBUS", "<- SIGKILL"} {
		inStuck(t, func() *actor { return newActor(7) }, func(c *stuck) {
			c.mu.Lock()
			c.onError = func(line string) {
				if strings.HasSuffix(line, signal) {
					close(c.proc.dead)
					time.Sleep(time.Millisecond) // whoever waits for its end gets on
				}
			}
			c.mu.Unlock()
			c.until(2 * sceneTimeout)
			require.Empty(c, c.fatal)
			require.Equal(c, 1, c.answered())
			require.Equal(c, 1, c.proc.closed)
		})
	}
}

// TestNothingRunsForALinkWhenTheEngineIsClosed.
func TestNothingRunsForALinkWhenTheEngineIsClosed(t *testing.T) {
	inStuck(t, func() *actor { return newActor(7) }, func(c *stuck) {
		told := false
		c.mu.Lock()
		c.onPin = func() {
			time.Sleep(time.Second)
			told = true
		}
		c.mu.Unlock()
		c.cancel()
		c.engine.Close()
		require.True(c, told, "the fate of the pin was still being told")
		require.Equal(c, 1, c.answered())
	})
}
