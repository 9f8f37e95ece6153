package top

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/wcfs/wcfs/internal/serve/control"
	"github.com/wcfs/wcfs/internal/serve/mount"
	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// Options say what is shown, and how.
type Options struct {
	Prober   mount.Prober
	Find     func() ([]control.Server, error) // the servers that are meant
	Ended    func() []control.LastWords       // what is known of those that have ended
	Interval time.Duration                    // between looks
	Colour   bool                             // of the terminal
}

// onceWidth is the width of a frame that is printed.
const onceWidth = 100

// Once prints one frame, of two looks with the interval between them: rates are of now. With
// asJSON it is a document.
func Once(ctx context.Context, opt Options, out io.Writer, asJSON bool) error {
	k := newLooker(opt)
	servers, err := k.round(ctx)
	if err == nil {
		select {
		case <-time.After(opt.Interval):
			servers, err = k.round(ctx)
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil {
		return err
	}
	f := &frame{now: time.Now(), servers: servers}
	if asJSON {
		return f.json(out)
	}
	for _, l := range f.lines(onceWidth) {
		if _, err := fmt.Fprintln(out, l.text(onceWidth, false)); err != nil {
			return err
		}
	}
	return nil
}

// Run shows frames on a terminal until somebody says that it is enough, or ctx ends.
func Run(ctx context.Context, opt Options, in, out *os.File) error {
	if _, err := opt.Find(); err != nil {
		return err // it may be misspelt
	}
	s, err := openScreen(in, out)
	if err != nil {
		return err
	}
	defer s.close()
	ctx, cancel := context.WithCancel(ctx)
	looks := make(chan *frame)
	began := make(chan time.Time)
	s.work.Go(func() { s.guarded(func() { looking(ctx, opt, began, looks) }) })
	s.work.Go(func() { s.guarded(func() { s.readKeys(ctx) }) })
	defer s.work.Wait()
	defer s.stopReading()
	defer cancel()
	return s.show(ctx, opt, began, looks)
}

// looking looks at the servers again and again, and tells when each look begins and what was
// seen.
func looking(ctx context.Context, opt Options, began chan<- time.Time, looks chan<- *frame) {
	k := newLooker(opt)
	for ctx.Err() == nil {
		start := time.Now()
		select {
		case began <- start:
		case <-ctx.Done():
			return
		}
		f := &frame{}
		f.servers, f.gone = k.round(ctx)
		if fault.Is(f.gone, fault.NotRunning) {
			for _, words := range opt.Ended() {
				f.words = append(f.words, words.String())
			}
		}
		select {
		case looks <- f:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(time.Until(start.Add(opt.Interval))):
		case <-ctx.Done():
		}
	}
}

// show draws frames as they come and keys are pressed.
func (s *screen) show(ctx context.Context, opt Options, began <-chan time.Time, looks <-chan *frame) error {
	clock := time.NewTicker(time.Second)
	defer clock.Stop()
	f := &frame{}
	var asked time.Time // when the look began that is under way
	for {
		f.now, f.silence = time.Now(), 0
		if silence := time.Since(asked); !asked.IsZero() && silence > usual {
			f.silence = silence
		}
		if err := s.draw(f, opt.Colour); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case asked = <-began:
		case f = <-looks:
			asked = time.Time{}
		case <-clock.C:
		case <-s.resized:
		case <-s.resumed:
			if err := s.enter(); err != nil {
				return err
			}
		case key, ok := <-s.keys:
			switch {
			case !ok || key == 'q' || key == 'Q' || key == ctrlC || key == ctrlD:
				return nil
			case key == ctrlZ:
				s.suspend()
			}
		}
	}
}

// usual is how long a look takes that is worth no word.
const usual = 1500 * time.Millisecond
