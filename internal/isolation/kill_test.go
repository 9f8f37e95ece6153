package isolation

import (
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wcfs/wcfs/internal/process"
)

// The parent may reap a client before we kill it: it is dead, as it should be.
func TestKillOfAReapedProcessIsNoFailure(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	require.NoError(t, cmd.Start())
	h, err := process.OfThread(cmd.Process.Pid)
	require.NoError(t, err)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	nop := func(string, ...any) {}
	l := &Link{proc: h, dead: make(chan struct{}), engine: &Engine{cfg: Config{Infof: nop, Warnf: nop, Errorf: nop}}}
	close(l.dead)
	require.NoError(t, l.kill(time.Second))
}
