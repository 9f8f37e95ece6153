package top

import (
	"strings"

	"github.com/rivo/uniseg"
)

// mark says how a cell is to be shown where there are colours.
type mark string

const (
	plain  mark = ""
	strong mark = "1"
	faint  mark = "2"
	good   mark = "32"
	bad    mark = "1;31"
	title  mark = "7"
)

// cell is a piece of a line that is shown in one way.
type cell struct {
	text string
	mark mark
}

// line is what fits side by side.
type line []cell

// text returns a line that is clipped to width cells of the terminal, with colours if they
// are wanted.
func (l line) text(width int, colour bool) string {
	var out strings.Builder
	for _, c := range l {
		part := clip(c.text, width)
		width -= uniseg.StringWidth(part)
		if colour && c.mark != plain && part != "" {
			part = "\x1b[" + string(c.mark) + "m" + part + "\x1b[0m"
		}
		out.WriteString(part)
	}
	if colour { // what is marked may end with spaces
		return out.String()
	}
	return strings.TrimRight(out.String(), " ")
}

// clip returns as much of text as fits into width cells.
func clip(text string, width int) string {
	rest, state, used := text, -1, 0
	for rest != "" {
		_, next, wide, newState := uniseg.FirstGraphemeClusterInString(rest, state)
		if used += wide; used > width {
			return text[:len(text)-len(rest)]
		}
		rest, state = next, newState
	}
	return text
}

// shorten is clip for what is told apart by its end, as paths are.
func shorten(text string, width int) string {
	const gap = "..."
	if uniseg.StringWidth(text) <= width || width <= len(gap) {
		return clip(text, width)
	}
	for text != "" && uniseg.StringWidth(text) > width-len(gap) {
		_, text, _, _ = uniseg.FirstGraphemeClusterInString(text, -1)
	}
	return gap + text
}

// padded returns text with spaces behind it, or before it for numbers, to a width.
func padded(text string, width int, number bool) string {
	text = clip(text, width)
	gap := strings.Repeat(" ", max(0, width-uniseg.StringWidth(text)))
	if number {
		return gap + text
	}
	return text + gap
}

const (
	labelWidth = 10
	between    = "   "
)

// flow returns lines that begin with a label and have as many of the cells side by side as
// fit.
func flow(label string, cells []cell, width int) (lines []line) {
	current, used := line{{padded(label, labelWidth, false), faint}}, labelWidth
	for i, c := range cells {
		wide := uniseg.StringWidth(c.text)
		if i > 0 && used+len(between)+wide > width && used > labelWidth {
			lines = append(lines, current)
			current, used = line{{strings.Repeat(" ", labelWidth), plain}}, labelWidth
		}
		if used > labelWidth {
			current, used = append(current, cell{between, plain}), used+len(between)
		}
		current, used = append(current, c), used+wide
	}
	return append(lines, current)
}

// column is a part of a table.
type column struct {
	head   string
	number bool
	cells  []cell
}

func (c *column) add(text string, mark mark) { c.cells = append(c.cells, cell{text, mark}) }

// table returns lines with columns side by side. The first column is made as narrow as least
// if it must be, and then columns are left out from the right.
func table(columns []column, least, width int) (lines []line) {
	wide := make([]int, len(columns))
	for i, c := range columns {
		wide[i] = uniseg.StringWidth(c.head)
		for _, cell := range c.cells {
			wide[i] = max(wide[i], uniseg.StringWidth(cell.text))
		}
	}
	sum := func() (n int) {
		for _, w := range wide {
			n += w + len("  ")
		}
		return n - len("  ")
	}
	for wide[0] = max(min(wide[0], wide[0]+width-sum()), min(least, wide[0])); len(wide) > 1 && sum() > width; {
		wide = wide[:len(wide)-1]
	}
	row := func(i int) (l line) {
		for k, w := range wide {
			c := cell{columns[k].head, strong}
			if i >= 0 {
				c = columns[k].cells[i]
			}
			if k > 0 {
				l = append(l, cell{"  ", plain})
			}
			l = append(l, cell{padded(shorten(c.text, w), w, columns[k].number), c.mark})
		}
		return l
	}
	for i := -1; i < len(columns[0].cells); i++ {
		lines = append(lines, row(i))
	}
	return lines
}
