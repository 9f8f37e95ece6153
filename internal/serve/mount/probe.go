package mount

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// MaxProbe bounds what Prober.Read returns, in bytes.
const MaxProbe = 1 << 20

// ProbeCommand is the first argument of the program that runs Probe.
const ProbeCommand = "__probe"

// selfExe is this program, also after its file was replaced.
const selfExe = "/proc/self/exe"

// firstRead is how much is asked for at first: all that files below .wcfs/ have, most of
// the time, so that looking at them is few requests.
const firstRead = 64 << 10

// killedWait is how long a child that was killed may take to be gone, if it can.
const killedWait = 100 * time.Millisecond

// probeFailed is the exit code of a probe that prints an errno and a text.
const probeFailed = 1

// Prober asks questions of a mount that may never answer. Each is asked by a
// child, since a process that waits for a mount may become one that nothing can
// end. A Prober may be used by any goroutine.
//
// A child that does not answer in time is killed and left behind. If the kernel
// does not let it die, it stays until the mount answers or is aborted; a
// goroutine of this process waits for it and for nothing else. It belongs to no
// one, and ends with the process at the latest.
type Prober struct {
	Exe   string        // program that runs Probe when its first argument is ProbeCommand; "" for this one
	Limit time.Duration // for one question
}

// StuckError says that a mount did not answer in time.
type StuckError struct {
	Path  string
	Limit time.Duration
}

func (e *StuckError) Error() string {
	return fmt.Sprintf("%s: no answer within %s; the server may be stuck", e.Path, e.Limit)
}

// Read returns the content of the file path, which must be absolute. Errors are
// *fs.PathError with an errno, *StuckError when there is no answer, that of ctx,
// and others when the child cannot be started or the file is larger than
// MaxProbe.
func (p Prober) Read(ctx context.Context, path string) ([]byte, error) {
	return p.ask(ctx, "read", path)
}

// Stat returns the device number (st_dev) of path. Errors are as of Read.
func (p Prober) Stat(ctx context.Context, path string) (dev uint64, err error) {
	answer, err := p.ask(ctx, "stat", path)
	if err != nil {
		return 0, err
	}
	dev, err = strconv.ParseUint(string(answer), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("stat %s: strange answer of the probe: %w", path, err)
	}
	return dev, nil
}

// Unmount takes off what is mounted on dir; with lazy although it is used. The
// child does it, because the kernel may not come back from that. The error says
// IsBusy if somebody uses the mount; else errors are as of Read.
func (p Prober) Unmount(ctx context.Context, dir string, lazy bool) error {
	op := "unmount"
	if lazy {
		op = "detach"
	}
	_, err := p.ask(ctx, op, dir)
	return err
}

// statfs asks the server of dir whatever the kernel has cached.
func (p Prober) statfs(ctx context.Context, dir string) error {
	_, err := p.ask(ctx, "statfs", dir)
	return err
}

// probed is how a child ended.
type probed struct {
	out []byte
	err error
}

func (p Prober) ask(ctx context.Context, op, path string) ([]byte, error) {
	cmd, out, err := p.start(op, path)
	if err != nil {
		return nil, fmt.Errorf("%s %s: start a probe: %w", op, path, err)
	}
	ended := make(chan probed, 1)
	go func() {
		data, _ := io.ReadAll(io.LimitReader(out, MaxProbe+1))
		_ = out.Close()
		ended <- probed{data, cmd.Wait()}
	}()
	timer := time.NewTimer(p.Limit)
	defer timer.Stop()
	select {
	case end := <-ended:
		return end.answer(op, path)
	case <-timer.C:
		err = &StuckError{Path: path, Limit: p.Limit}
	case <-ctx.Done():
		err = fmt.Errorf("%s %s: %w", op, path, ctx.Err())
	}
	_ = cmd.Process.Kill()
	select {
	case <-ended: // so that it does not keep the mount busy
	case <-time.After(killedWait):
	}
	return nil, err
}

// start starts the child. Its output comes out of a pipe that is ours, so
// that nobody has to wait for a child that cannot die.
func (p Prober) start(op, path string) (*exec.Cmd, *os.File, error) {
	exe := p.Exe
	if exe == "" {
		exe = selfExe
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer w.Close()
	cmd := exec.Command(exe, ProbeCommand, op, path)
	cmd.Stdout = w
	cmd.Dir = "/" // ours may be in the mount
	if err := cmd.Start(); err != nil {
		_ = r.Close()
		return nil, nil, err
	}
	return cmd, r, nil
}

func (end probed) answer(op, path string) ([]byte, error) {
	if len(end.out) > MaxProbe {
		return nil, fmt.Errorf("%s %s: larger than %d bytes", op, path, MaxProbe)
	}
	if end.err == nil {
		return end.out, nil
	}
	var exit *exec.ExitError
	if errors.As(end.err, &exit) && exit.ExitCode() == probeFailed {
		number, text, _ := strings.Cut(string(end.out), " ")
		switch errno, err := strconv.ParseUint(number, 10, 16); {
		case err == nil && errno != 0:
			return nil, &fs.PathError{Op: op, Path: path, Err: syscall.Errno(errno)}
		case err == nil:
			return nil, errors.New(text)
		}
	}
	return nil, fmt.Errorf("%s %s: the probe failed: %w", op, path, end.err)
}

// Probe is what the child of a Prober does: it answers op about path on out and
// returns the exit code.
func Probe(op, path string, out io.Writer) (code int) {
	answer, err := probe(op, path)
	if err == nil {
		_, err = out.Write(answer)
	}
	if err == nil {
		return 0
	}
	var errno syscall.Errno // 0: the text has to do
	errors.As(err, &errno)
	fmt.Fprintf(out, "%d %s", uint(errno), err)
	return probeFailed
}

func probe(op, path string) ([]byte, error) {
	switch op {
	case "read":
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		var data bytes.Buffer
		data.Grow(firstRead)
		_, err = io.Copy(&data, io.LimitReader(f, MaxProbe+1))
		return data.Bytes(), err
	case "stat":
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return nil, err
		}
		return strconv.AppendUint(nil, st.Dev, 10), nil
	case "statfs":
		var st unix.Statfs_t
		return nil, unix.Statfs(path, &st)
	case "unmount":
		return nil, unmount(path, 0)
	case "detach":
		return nil, unmount(path, unix.MNT_DETACH)
	}
	return nil, unix.EINVAL
}
