package demo

import (
	"context"
	"errors"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// story is what happens on the screen. The numbers that it gives to the screen
// are those that were seen, and not those that must be seen.
type story struct {
	opt    Options
	screen *screen
	writer *writer
	viewer *viewer
	first  zodb.Tid  // commit 1
	begin  time.Time // of the first row
	held   state     // what the snapshot must show
	sum    summary
}

// summary is what is said at the end.
type summary struct {
	commits   int
	followed  time.Duration // the longest that head/ took to show a commit
	cached    int           // blocks in the page cache before each commit, added up
	changed   int           // blocks that the commits changed
	dropped   int           // blocks of these that left it
	pins      int
	read      int64 // bytes that head/ read from the database to show the commits
	reclaimed int64 // and again, as the kernel had needed the memory
}

// tell joins the server and tells the story.
func (s *story) tell(ctx context.Context, server *server) (err error) {
	w, err := server.join(ctx)
	if err != nil {
		return server.why(ctx, err)
	}
	s.viewer = &viewer{w: w, file: s.writer.file}
	defer func() { err = errors.Join(err, s.viewer.close()) }()
	if err := s.play(ctx); err != nil {
		return server.why(ctx, err) // now, since it ends when we close the viewer
	}
	return nil
}

// play is the story from its first line to the last.
func (s *story) play(ctx context.Context) error {
	if err := s.viewer.open(ctx, s.first); err != nil {
		return err
	}
	s.screen.intro(s.viewer.path("head"), s.opt)
	s.begin = time.Now()
	s.held = s.writer.now
	tick := time.NewTicker(s.opt.Interval)
	defer tick.Stop()
	if err := s.row(ctx, s.first); err != nil {
		return err
	}
	for n := 1; n <= s.opt.Commits; n++ {
		if err := s.wait(ctx, tick.C); err != nil {
			return err
		}
		if err := s.commit(ctx); err != nil {
			return err
		}
		if n != s.opt.Commits-s.opt.Commits/3 { // after two thirds
			continue
		}
		if err := s.move(ctx); err != nil {
			return err
		}
	}
	return s.end()
}

// wait waits for the next moment to do something.
func (s *story) wait(ctx context.Context, tick <-chan time.Time) error {
	if s.screen.err != nil {
		return s.screen.err
	}
	select {
	case <-tick:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// commit changes something and shows what that does.
func (s *story) commit(ctx context.Context) error {
	reclaimed, err := s.viewer.warm(s.writer.now)
	if err != nil {
		return err
	}
	s.sum.reclaimed += reclaimed
	tid, err := s.writer.commit(ctx)
	if err != nil {
		return err
	}
	return s.row(ctx, tid)
}

// row shows what is seen after a commit.
func (s *story) row(ctx context.Context, tid zodb.Tid) error {
	l, err := s.viewer.look(ctx, tid, s.writer.now, s.held)
	if err != nil {
		return err
	}
	s.sum.commits++
	s.sum.followed = max(s.sum.followed, l.followed)
	s.sum.read += l.missing
	if tid == s.first {
		l.dropped = nil // nothing has been cached yet
	} else {
		s.sum.cached += nblk
		s.sum.changed += len(changedBy(s.writer.last))
		s.sum.dropped += len(l.dropped)
	}
	s.screen.row(time.Since(s.begin), tid, s.writer.last, l)
	return nil
}

// move has the client move forward to the newest state.
func (s *story) move(ctx context.Context) error {
	took, missing, err := s.viewer.move(ctx)
	if err != nil {
		return err
	}
	s.held = s.writer.now
	if _, err := s.viewer.readSnapshot(ctx, s.held); err != nil {
		return err
	}
	s.screen.moved(took, missing)
	return nil
}

// end shows that the past is still there.
func (s *story) end() error {
	seen, err := s.viewer.past(s.first, firstState())
	if err != nil {
		return err
	}
	s.sum.pins = s.viewer.pins
	s.screen.past(s.first, seen)
	return s.screen.err
}
