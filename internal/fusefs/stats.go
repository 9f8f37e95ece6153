package fusefs

import "fmt"

// stats returns the content of .wcfs/stats. The set of lines and their order
// are fixed: programs read them. Gauges are capitalised, counters are not.
func (t *FS) stats() []byte {
	var text []byte
	line := func(name string, value int) { text = fmt.Appendf(text, "%s\t: %d\n", name, value) }
	line("BigFile", len(t.root.head.files.Children()))
	line("RevHead", t.root.views())
	line("ZHeadLink", 0)
	line("WatchLink", 0)
	line("Watch", 0)
	line("PinnedBlk", 0)
	line("pin", 0)
	line("pinkill", 0)
	return text
}
