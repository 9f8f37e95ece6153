package demo

import (
	"fmt"
	"io"
	"strings"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"
)

// screen is what people see, in lines of at most 80 columns.
type screen struct {
	out    io.Writer
	styled bool
	err    error // the first one of out; nothing is written after it
}

func (s *screen) printf(format string, args ...any) {
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.out, format, args...)
	}
}

// bold is for what has just changed, faint for what keeps still.
func (s *screen) bold(text string) string  { return s.style("1", text) }
func (s *screen) faint(text string) string { return s.style("2", text) }

func (s *screen) style(code, text string) string {
	if !s.styled {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// intro says what will be seen. path is that of the array.
func (s *screen) intro(path string, opt Options) {
	every := "Once a second"
	if opt.Interval != time.Second {
		every = "Every " + opt.Interval.String()
	}
	s.printf(`A ZODB database with an array of %d blocks of %d MiB is served as the file
  %s

%s a transaction changes one or two blocks. Shown of each block is
the number of the transaction that changed it last.

                         head/, read as        memory mapped        left the
  time  transaction      a plain file          by a client          page cache
                        %s    %[5]s
`, nblk, blkSize>>20, path, every, columns())
}

// row shows a look after a commit.
func (s *screen) row(at time.Duration, tid zodb.Tid, commit int64, l look) {
	left := blockNames(l.dropped)
	if left == "" && commit > 1 {
		left = "none"
	}
	line := fmt.Sprintf("%6s  %s%s    %s  %s", seconds(at), tid,
		s.blocks(l.head, commit), s.faint(s.blocks(l.snapshot, 0)), left)
	s.printf("%s\n", strings.TrimRight(line, " "))
}

// columns names the blocks above the cells that blocks makes.
func columns() string {
	var text strings.Builder
	for blk := range nblk {
		fmt.Fprintf(&text, " #%d", blk)
	}
	return text.String()
}

// blocks shows a state, with the blocks that commit changed in bold.
func (s *screen) blocks(shown state, commit int64) string {
	var text strings.Builder
	for _, value := range shown {
		cell := fmt.Sprintf("%2d", value)
		if value == commit {
			cell = s.bold(cell)
		}
		text.WriteString(" " + cell)
	}
	return text.String()
}

// blockNames lists blocks as "#1 #5".
func blockNames(blks []int64) string {
	names := make([]string, len(blks))
	for i, blk := range blks {
		names[i] = fmt.Sprintf("#%d", blk)
	}
	return strings.Join(names, " ")
}

// moved says what moving forward cost.
func (s *screen) moved(took time.Duration, missing int64) {
	s.printf("        the client moves forward: it takes %s, and reads %s\n", short(took), size(missing))
}

// past shows the file of a past view, below those of head/.
func (s *screen) past(tid zodb.Tid, seen state) {
	s.printf("        the past is a plain file too, below @%s/:\n%24s%s\n", tid, "", s.blocks(seen, 0))
}

func (s *screen) summary(sum summary) {
	s.printf(`
head/ showed each of %d transactions within %s.
They changed %d of %d cached blocks, and %d left the page cache. So all looks
at head/ together read %s from the database.
The client was told %d times to map a block from the past instead (a pin). Its
memory was compared, byte by byte, after each transaction: nothing in it changed
but when it moved forward.
`, sum.commits, short(sum.followed), sum.changed, sum.cached, sum.dropped, size(sum.read), sum.pins)
	if sum.reclaimed > 0 {
		s.printf("Of what was cached the kernel needed %s for other things meanwhile.\n", size(sum.reclaimed))
	}
}

// removed says that nothing is left.
func (s *screen) removed() { s.printf("Server, mount and database are gone again.\n") }

func (s *screen) kept(database string) {
	s.printf("The database is kept: %s\n", database)
}

// next says what to try after this.
func (s *screen) next(opt Options, database string) {
	if opt.Keep {
		s.printf(`
Try next:
  %[1]s ls %[2]s
  %[1]s log %[2]s %[3]s
  %[1]s serve %[2]s
`, opt.Program, database, arrayName)
		return
	}
	s.printf(`
Try next, with an array that numpy.save has written:
  %[1]s import array.npy my.fs array
  %[1]s ls my.fs
  %[1]s serve my.fs
`, opt.Program)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// short shows a duration with two or three digits.
func short(d time.Duration) string {
	switch ms := d.Seconds() * 1000; {
	case ms >= 1000:
		return seconds(d)
	case ms >= 10:
		return fmt.Sprintf("%.0f ms", ms)
	default:
		return fmt.Sprintf("%.1f ms", ms)
	}
}

func size(bytes int64) string {
	switch {
	case bytes == 0:
		return "nothing"
	case bytes < 1<<20:
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}
