package fusefs

import "fmt"

// stats returns the content of .wcfs/stats. The set of lines and their order
// are fixed: programs read them. Gauges are capitalised, counters are not.
func (t *FS) stats() []byte {
	var text []byte
	line := func(name string, value int) { text = fmt.Appendf(text, "%s\t: %d\n", name, value) }
	line("BigFile", t.opt.Head.Files())
	line("RevHead", t.root.views())
	line("ZHeadLink", t.opt.Head.Subscriptions())
	line("WatchLink", 0)
	line("Watch", 0)
	line("PinnedBlk", 0)
	line("pin", 0)
	line("pinkill", 0)
	return text
}
