package isolation

import (
	"context"
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
	l := &Link{proc: h, ctx: t.Context(), engine: &Engine{cfg: Config{PinTimeout: time.Second, Infof: nop, Warnf: nop, Errorf: nop}}}
	require.NoError(t, l.kill(context.Background(), time.Second))
}
