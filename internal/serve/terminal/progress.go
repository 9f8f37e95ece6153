package terminal

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progressDelay is how long something may take before a bar says how far it is.
const progressDelay = time.Second

// Progress is a bar on stderr for something that goes through many bytes. There
// is one only if a person looks at stderr, and only if it takes long.
type Progress struct {
	bar *progressbar.ProgressBar // nil if nobody looks
}

// NewProgress begins to measure. total is in bytes, -1 if it is not known.
func NewProgress(label string, total int64) *Progress {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return &Progress{}
	}
	return &Progress{bar: progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(&lateWriter{os.Stderr, time.Now().Add(progressDelay)}),
		progressbar.OptionSetDescription(Line(label)),
		progressbar.OptionShowBytes(true),
		progressbar.OptionShowCount(),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetWidth(30),
		progressbar.OptionClearOnFinish(),
	)}
}

// ProgressOf returns what shows how far something is whose size it learns only
// then, and what takes that away.
func ProgressOf(label string) (at func(done, total int64), end func()) {
	var p *Progress
	var last int64
	at = func(done, total int64) {
		if p == nil {
			p = NewProgress(label, total)
		}
		p.Add(done - last)
		last = done
	}
	return at, func() {
		if p != nil {
			p.Done()
		}
	}
}

// Add says that n more bytes are done. It may be called from any goroutine.
func (p *Progress) Add(n int64) {
	if p.bar != nil {
		_ = p.bar.Add64(n) // a bar that cannot be drawn is no trouble
	}
}

// Redraw shows that it is still under way.
func (p *Progress) Redraw() {
	if p.bar != nil {
		_ = p.bar.RenderBlank()
	}
}

// Done takes the bar away. It may be called again.
func (p *Progress) Done() {
	if p.bar != nil {
		_ = p.bar.Clear()
		_ = p.bar.Exit()
		p.bar = nil
	}
}

// lateWriter drops what comes before a moment: the bar measures from the
// beginning, but is shown only if it takes long.
type lateWriter struct {
	w    io.Writer
	from time.Time
}

func (l *lateWriter) Write(p []byte) (int, error) {
	if time.Now().Before(l.from) {
		return len(p), nil
	}
	return l.w.Write(p)
}
