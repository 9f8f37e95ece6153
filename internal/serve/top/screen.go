package top

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Keys are these bytes in raw mode.
const (
	ctrlC = 0x03
	ctrlD = 0x04
	ctrlZ = 0x1a
)

// Terminals obey these: see console_codes(4). The frame is drawn on the alternate screen, so
// that what was on the terminal before is there afterwards.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J" // no cursor, no wrapped lines
	leaveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// Sizes that are taken for a terminal that does not know its own.
const (
	defaultWidth  = 80
	defaultHeight = 24
)

// screen is a terminal that frames are drawn on.
type screen struct {
	in, out *os.File
	before  *term.State
	keys    chan byte // closed when there can be none any more
	resized chan os.Signal
	resumed chan os.Signal // the program goes on after it was stopped
	wake    [2]int         // a pipe: ends the wait for keys
	work    sync.WaitGroup
}

func openScreen(in, out *os.File) (*screen, error) {
	s := &screen{in: in, out: out, keys: make(chan byte), resized: make(chan os.Signal, 1), resumed: make(chan os.Signal, 1)}
	var err error
	if s.before, err = term.GetState(int(in.Fd())); err != nil {
		return nil, fmt.Errorf("the standard input is no terminal: %w", err)
	}
	if err := unix.Pipe2(s.wake[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	signal.Notify(s.resized, syscall.SIGWINCH)
	signal.Notify(s.resumed, syscall.SIGCONT)
	if err := s.enter(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// enter makes the terminal one to draw on, if it is not one already.
func (s *screen) enter() error {
	if _, err := term.MakeRaw(int(s.in.Fd())); err != nil {
		return fmt.Errorf("set up the terminal: %w", err)
	}
	_, err := s.out.WriteString(enterScreen)
	return err
}

// leave gives the terminal back as it was.
func (s *screen) leave() {
	_, _ = s.out.WriteString(leaveScreen) // it may be gone
	_ = term.Restore(int(s.in.Fd()), s.before)
}

// close is leave for good.
func (s *screen) close() {
	signal.Stop(s.resized)
	signal.Stop(s.resumed)
	s.leave()
	unix.Close(s.wake[0])
}

// guarded runs f, and gives the terminal back if that panics.
func (s *screen) guarded(f func()) {
	defer func() {
		if p := recover(); p != nil {
			s.leave()
			panic(p)
		}
	}()
	f()
}

// stopReading ends readKeys.
func (s *screen) stopReading() { unix.Close(s.wake[1]) }

// readKeys sends what is typed until stopReading, and the end of ctx.
func (s *screen) readKeys(ctx context.Context) {
	defer close(s.keys)
	fds := []unix.PollFd{{Fd: int32(s.in.Fd()), Events: unix.POLLIN}, {Fd: int32(s.wake[0]), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err == unix.EINTR {
			continue
		} else if err != nil || fds[1].Revents != 0 {
			return
		}
		var key [1]byte
		n, err := unix.Read(int(s.in.Fd()), key[:])
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		if err != nil || n == 0 {
			return // the terminal is gone
		}
		select {
		case s.keys <- key[0]:
		case <-ctx.Done():
			return
		}
	}
}

// suspendWait is how long the signal to stop may take.
const suspendWait = 200 * time.Millisecond

// suspend stops the program as the shell is used to, until that lets it go on.
func (s *screen) suspend() {
	s.leave()
	_ = unix.Kill(0, unix.SIGTSTP) // in vain without a shell that could let it go on
	timer := time.NewTimer(suspendWait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.resumed:
	}
	_ = s.enter() // drawing says what is wrong
}

// draw shows a frame. Lines that have no room are left out at the bottom.
func (s *screen) draw(f *frame, colour bool) error {
	width, height, err := term.GetSize(int(s.out.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		width, height = defaultWidth, defaultHeight
	}
	var text strings.Builder
	text.WriteString(home)
	lines := f.lines(width)
	room := height - 1
	if len(lines) > room {
		lines = lines[:max(0, room)]
	}
	for _, l := range lines {
		text.WriteString(l.text(width, colour) + clearLine + "\r\n")
	}
	text.WriteString(line{{"q: quit", faint}}.text(width, colour) + clearLine + clearBelow)
	_, err = s.out.WriteString(text.String())
	return err
}
