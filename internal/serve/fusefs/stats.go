package fusefs

import "fmt"

// stats returns the content of .wcfs/stats. The set of lines and their order
// are fixed: programs read them. Gauges are capitalised, counters are not.
func (t *FS) stats() []byte {
	var text []byte
	clients := t.opt.Isolation.Stats()
	line := func(name string, value uint64) { text = fmt.Appendf(text, "%s\t: %d\n", name, value) }
	line("BigFile", uint64(t.opt.Head.Files()))
	line("RevHead", uint64(t.Views()))
	line("ZHeadLink", uint64(t.opt.Head.Subscriptions()))
	line("WatchLink", uint64(clients.WatchLink))
	line("Watch", uint64(clients.Watch))
	line("PinnedBlk", uint64(clients.PinnedBlk))
	line("pin", clients.Pin)
	line("pinkill", clients.PinKill)
	return text
}

// Views returns how many @<tid> directories the kernel knows.
func (t *FS) Views() int { return t.root.views() }
