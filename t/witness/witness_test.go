package witness

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

var (
	duration = flag.Duration("duration", time.Minute, "how long all takes")
	seed     = flag.Uint64("seed", 0, "what happens; 0 for something new")
	without  = flag.String("without", "", "kinds of transactions to leave out, as shrink,pack; see chaos.py")
	crowd    = flag.Int("clients", 6, "how many clients there are at a time")
	keep     = flag.String("keep", "", "directory for the database, the logs, and what the writer said, if it fails")
	binary   = flag.String("wcfs", "", "the program to be tested, if not this one")
	only     = flag.String("only", "", "the kind all clients are of; see kinds_test.go")
)

const (
	// pinTimeout is shorter than the usual, so that much happens, and still longer
	// than a busy machine takes to run a thread.
	pinTimeout = 5 * time.Second
	// patience is how long a client may need beyond its time: its own watchdog ends
	// it before.
	patience = 10*pinTimeout + 20*time.Second
	// sceneTime bounds what the writer's files and the memory of clients grow to.
	sceneTime = 5 * time.Minute
)

// TestEveryByteOfEveryViewIsRight has scenes until the time is over.
func TestEveryByteOfEveryViewIsRight(t *testing.T) {
	programs := build(t)
	first := *seed
	if first == 0 {
		first = uint64(time.Now().Unix())
	}
	for i, end := uint64(0), time.Now().Add(*duration); ; i++ {
		left := time.Until(end)
		if i > 0 && left < 20*time.Second {
			return
		}
		ok := t.Run(fmt.Sprintf("seed=%d", first+i), func(t *testing.T) {
			play(t, programs, first+i, min(left, sceneTime))
		})
		if !ok {
			return
		}
	}
}

// programs are paths of what is run.
type programs struct{ wcfs, client, python string }

func build(t *testing.T) programs {
	t.Helper()
	dir := t.TempDir()
	p := programs{filepath.Join(dir, "wcfs"), filepath.Join(dir, "witness"), ""}
	run := func(name string, args ...string) {
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s", cmd, out)
	}
	if *binary != "" {
		p.wcfs = *binary
	} else {
		run("go", "build", "-buildvcs=false", "-tags", "invariants", "-o", p.wcfs, "../../wcfs")
	}
	sources, err := filepath.Glob("client/*.c")
	require.NoError(t, err)
	run("gcc", append([]string{"-std=c11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", p.client}, sources...)...)
	venv, err := filepath.Abs("../../bin/venv")
	require.NoError(t, err)
	run("./venv.sh", venv)
	p.python = filepath.Join(venv, "bin/python")
	return p
}

// Scene is a server, a writer, and clients that come and go.
type Scene struct {
	t *testing.T
	programs
	seed           uint64
	dir, mnt       string
	server, writer *Process
	dev            uint64 // st_dev of the mount
	end            time.Time
	cancel         context.CancelCauseFunc

	mu     sync.Mutex
	counts map[string]int // how clients have ended
	failed []string
}

func play(t *testing.T, p programs, seed uint64, d time.Duration) {
	s := &Scene{t: t, programs: p, seed: seed, dir: t.TempDir(), end: time.Now().Add(d), counts: map[string]int{}}
	s.mnt = filepath.Join(s.dir, "mnt")
	require.NoError(t, os.Mkdir(s.mnt, 0o755))
	var ctx context.Context
	ctx, s.cancel = context.WithCancelCause(context.Background())
	defer s.cancel(nil)
	defer s.leaveNothing()
	s.open()
	go func() {
		select {
		case <-s.writer.Done:
			s.cancel(fmt.Errorf("the writer ended"))
		case <-ctx.Done():
		}
	}()
	var clients sync.WaitGroup
	for i := range *crowd {
		clients.Go(func() { s.clients(ctx, i) })
	}
	clients.Wait()
	s.close()
	t.Logf("%v\n%s", s.counts, s.writer.Tail(1))
}

// open starts the writer, and then the server.
func (s *Scene) open() {
	var err error
	s.writer, err = spawn(s.dir, "writer", s.python, "writer.py", "--seed", fmt.Sprint(s.seed), "--without", *without, s.dir)
	require.NoError(s.t, err)
	require.True(s.t, s.writer.waitLog("ready"), "the writer ended: %s", s.writer.Tail(20))
	s.server, err = spawn(s.dir, "server", s.wcfs, "serve", "--pintimeout", pinTimeout.String(), filepath.Join(s.dir, "data.fs"), s.mnt)
	require.NoError(s.t, err)
	require.True(s.t, s.server.waitLog("ready: "), "the server ended: %s", s.server.Tail(300))
	var st unix.Stat_t
	require.NoError(s.t, unix.Stat(s.mnt, &st))
	s.dev = st.Dev
	at, err := os.ReadFile(filepath.Join(s.mnt, "head/at"))
	require.NoError(s.t, err)
	require.NoError(s.t, os.WriteFile(filepath.Join(s.dir, "start"), at, 0o644))
}

// clients lets one client after another look at the mount, until the time is over or
// something has failed.
func (s *Scene) clients(ctx context.Context, place int) {
	r := rand.New(rand.NewPCG(s.seed, uint64(place)))
	for n := 0; time.Now().Before(s.end) && ctx.Err() == nil; n++ {
		k := choose(r)
		for *only != "" && k.Name != *only {
			k = choose(r)
		}
		d := min(3*time.Second+upTo(r, 12*time.Second), time.Until(s.end))
		name := fmt.Sprintf("client-%d-%d-%s", place, n, k.Name)
		pace := "prompt"
		if k.Slow {
			pace = "slow"
		}
		p, err := spawn(s.dir, name, s.client, s.mnt, s.dir, k.Client, fmt.Sprint(r.Uint32()), strconv.FormatFloat(d.Seconds(), 'f', 3, 64), pace)
		if err != nil {
			s.fail("%v", err)
			return
		}
		s.attend(ctx, k, p, r, d)
	}
}

// attend waits for the end of a client and judges it.
func (s *Scene) attend(ctx context.Context, k Kind, p *Process, r *rand.Rand, d time.Duration) {
	if k.Act != nil {
		k.Act(p, r)
	}
	late := time.NewTimer(d + patience)
	defer late.Stop()
	select {
	case <-p.Done:
	case <-late.C:
		s.fail("%s does not end\n%s", p.Name, p.Tail(200))
	case <-ctx.Done():
	}
	if ctx.Err() != nil { // one has failed already
		p.Signal(syscall.SIGCONT)
		p.Signal(syscall.SIGKILL)
		if !p.WaitFor(2 * time.Second) {
			_ = abort(s.dev)
			p.WaitFor(10 * time.Second)
		}
		return
	}
	if wrong := k.verdict(p); wrong != "" {
		s.fail("%s: %s\n%s", p.Name, wrong, p.Tail(200))
		return
	}
	how := k.Name
	if p.Status().Signaled() {
		how += " (ended)"
	}
	s.mu.Lock()
	s.counts[how]++
	s.mu.Unlock()
	_ = os.Remove(p.log)
}

// fail notes what is wrong, with what can be known now, and ends the scene.
func (s *Scene) fail(format string, args ...any) {
	status, err := exec.Command(s.wcfs, "status", s.mnt).CombinedOutput()
	if err != nil {
		status = fmt.Appendf(status, "%v", err)
	}
	text := fmt.Sprintf(format, args...)
	s.mu.Lock()
	s.failed = append(s.failed, fmt.Sprintf("%s\nstatus then:\n%s", text, status))
	s.mu.Unlock()
	s.cancel(fmt.Errorf("%s", text))
}

// close ends the writer and the server and requires that they end well.
func (s *Scene) close() {
	s.writer.stdin.Close()
	if !s.writer.WaitFor(30*time.Second) || !s.writer.cmd.ProcessState.Success() {
		s.fail("the writer failed: %s", s.writer.Tail(20))
	}
	if len(s.failed) == 0 {
		metrics, err := os.ReadFile(filepath.Join(s.mnt, ".wcfs/metrics"))
		require.NoError(s.t, err)
		for _, line := range []string{"\nwcfs_panics_total 0\n", "\nwcfs_eio_mode 0\n", "\nwcfs_watchlinks 0\n", "\nwcfs_watches 0\n"} {
			if !strings.Contains(string(metrics), line) {
				s.fail("the metrics do not have %q", line)
			}
		}
	}
	s.server.Signal(syscall.SIGINT)
	if !s.server.WaitFor(20*time.Second) || !s.server.cmd.ProcessState.Success() {
		s.fail("the server does not stop as it should: %s", s.server.Tail(300))
	}
	for _, text := range s.failed {
		s.t.Error(text)
	}
	if s.t.Failed() {
		s.t.Errorf("log of the server:\n%s", s.server.Tail(300))
		s.t.Errorf("end of what the writer said:\n%s", tail(filepath.Join(s.dir, "truth"), 20000))
		s.t.Errorf("again: go test ./t/witness -count=1 -seed %d -duration %s -clients %d -without %q -only %q", s.seed, *duration, *crowd, *without, *only)
	}
}

// leaveNothing ends what still runs, and takes the mount away.
func (s *Scene) leaveNothing() {
	for _, p := range []*Process{s.writer, s.server} {
		if p != nil && p.Running() {
			s.t.Errorf("%s still runs", p.Name)
			_ = abort(s.dev)
			p.Signal(syscall.SIGKILL)
			p.WaitFor(10 * time.Second)
		}
	}
	if s.t.Failed() && *keep != "" {
		// The mount point has nothing that could be kept.
		out, err := exec.Command("cp", "-rx", s.dir, filepath.Join(*keep, fmt.Sprintf("seed-%d-%d", s.seed, os.Getpid()))).CombinedOutput()
		s.t.Logf("kept in %s: %s %v", *keep, out, err)
	}
	if on, err := mountinfo.Mounted(s.mnt); on || err != nil {
		s.t.Errorf("a mount is left on %s (%v)", s.mnt, err)
		_ = unix.Unmount(s.mnt, unix.MNT_DETACH)
	}
}

func tail(path string, n int) string {
	text, _ := os.ReadFile(path)
	return string(text[max(0, len(text)-n):])
}
