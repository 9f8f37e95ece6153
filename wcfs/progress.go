package main

import (
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progressDelay is how long something may take before a bar says how far it is.
const progressDelay = time.Second

// progress is a bar on stderr for something that goes through many bytes. There
// is one only if a person looks at stderr, and only if it takes long.
type progress struct {
	label string
	total int64 // bytes, -1 if not known
	show  bool
	start time.Time

	mu   sync.Mutex
	done int64                    // guarded by mu; bytes
	bar  *progressbar.ProgressBar // guarded by mu; nil until it is shown
}

// newProgress begins to measure. total is in bytes, -1 if it is not known.
func newProgress(label string, total int64) *progress {
	return &progress{label: label, total: total, show: term.IsTerminal(int(os.Stderr.Fd())), start: time.Now()}
}

// Add says that n more bytes are done. It may be called from any goroutine.
func (p *progress) Add(n int64) {
	if !p.show {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	if p.bar == nil {
		if time.Since(p.start) < progressDelay {
			return
		}
		p.bar = newBar(p.label, p.total)
		n = p.done
	}
	_ = p.bar.Add64(n) // a bar that cannot be drawn is no trouble
}

// Done takes the bar away. It may be called again.
func (p *progress) Done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.show = false
	if p.bar != nil {
		_ = p.bar.Clear()
		_ = p.bar.Exit()
		p.bar = nil
	}
}

func newBar(label string, total int64) *progressbar.ProgressBar {
	return progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionSetDescription(label),
		progressbar.OptionShowBytes(true),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetWidth(30),
		progressbar.OptionClearOnFinish(),
	)
}
