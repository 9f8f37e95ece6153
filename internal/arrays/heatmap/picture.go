package heatmap

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"time"

	"github.com/wcfs/wcfs/internal/serve/terminal"
)

const (
	left, right, top, bottom = 96, 96, 88, 108 // margins, in pixels
	plotWidth, plotHeight    = 1024, 512       // that a plot has at most
	narrowest                = 640             // plot: so that texts have room
	maxCell                  = 32              // pixels of a bin, if there are few
)

// picture is a Map that is drawn.
type picture struct {
	*Map
	*image.RGBA
	text          *pen
	rows, columns int
	wide, high    int // of a bin, in pixels
	plot          image.Rectangle
	dx            int // of the first column, in the plot
}

// PNG writes the picture of a Map. name is what the array is called, and of where it is.
func (m *Map) PNG(w io.Writer, name, of string) error {
	p := &picture{Map: m, rows: m.rows(), columns: m.columns()}
	p.wide, p.high = min(maxCell, max(1, plotWidth/p.columns)), min(maxCell, max(1, plotHeight/p.rows))
	width := max(narrowest, p.wide*p.columns)
	p.dx = (width - p.wide*p.columns) / 2
	p.plot = image.Rect(left, top, left+width, top+p.high*p.rows)
	p.RGBA = image.NewRGBA(image.Rect(0, 0, p.plot.Max.X+right, p.plot.Max.Y+bottom))
	var err error
	if p.text, err = newPen(p.RGBA); err != nil {
		return err
	}
	p.fill(p.Bounds(), background)
	p.drawTitle(name, of)
	p.drawCells()
	p.drawBlocks()
	p.drawTimes()
	p.drawScale()
	return png.Encode(w, p.RGBA)
}

func (p *picture) fill(r image.Rectangle, c color.Color) {
	draw.Draw(p.RGBA, r, image.NewUniform(c), image.Point{}, draw.Src)
}

func (p *picture) drawTitle(name, of string) {
	room := p.plot.Dx()
	p.text.title(p.plot.Min.X, 30, clipped(p.text.large, name, room))
	what := fmt.Sprintf("%s of %s of %s in %s", counted(p.changed, "change"), counted(p.blocks, "block"), terminal.Size(p.blkSize), counted(p.txns, "transaction"))
	if p.damage != nil {
		what += " (incomplete: some could not be read)"
	}
	p.text.left(p.plot.Min.X, 50, clipped(p.text.small, what+", "+p.span(), room), ink)
	p.text.left(p.plot.Min.X, 68, clipped(p.text.small, of, room), faintInk)
}

// span returns from when to when.
func (p *picture) span() string {
	first, last := p.timeOf(0), time.UnixMicro(p.end).UTC()
	if first.Equal(last) {
		return first.Format("2006-01-02 15:04:05Z")
	}
	return first.Format("2006-01-02 15:04:05Z") + " to " + last.Format("2006-01-02 15:04:05Z")
}

// counted is terminal.Count for large numbers.
func counted(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return terminal.Number(n) + " " + noun + "s"
}

// cell returns where a bin is drawn. Block 0 is at the bottom.
func (p *picture) cell(row, column int) image.Rectangle {
	x, y := p.plot.Min.X+p.dx+column*p.wide, p.plot.Max.Y-(row+1)*p.high
	return image.Rect(x, y, x+p.wide, y+p.high)
}

func (p *picture) drawCells() {
	p.fill(p.plot.Inset(-1), frameLine)
	p.fill(p.plot, paper)
	for _, k := range p.blockTicks(p.blockRoom()) {
		y := p.plot.Max.Y - int(k.at*float64(p.high))
		p.fill(image.Rect(p.plot.Min.X, y, p.plot.Max.X, y+1), gridLine)
	}
	most := p.most()
	for row := range p.rows {
		for column := range p.columns {
			if n := p.count[row][column]; n > 0 {
				p.fill(p.cell(row, column), shade(part(n, most)))
			}
		}
	}
}

// blockRoom returns how many ticks of blocks have room.
func (p *picture) blockRoom() int { return max(2, p.plot.Dy()/28) }

// drawBlocks draws the axes of blocks, at the left by number and at the right by where they
// are in the file.
func (p *picture) drawBlocks() {
	for _, k := range p.blockTicks(p.blockRoom()) {
		y := p.plot.Max.Y - int(k.at*float64(p.high))
		p.fill(image.Rect(p.plot.Min.X-5, y, p.plot.Min.X-1, y+1), frameLine)
		p.fill(image.Rect(p.plot.Max.X+1, y, p.plot.Max.X+5, y+1), frameLine)
		p.text.right(p.plot.Min.X-9, y+4, k.label, ink)
		p.text.left(p.plot.Max.X+9, y+4, terminal.Size(k.block*p.blkSize), faintInk)
	}
	p.text.right(p.plot.Min.X-9, p.plot.Min.Y-8, "block", faintInk)
	p.text.left(p.plot.Max.X+9, p.plot.Min.Y-8, "offset", faintInk)
}

// drawTimes draws the axis of time.
func (p *picture) drawTimes() {
	y := p.plot.Max.Y
	for _, k := range p.timeTicks(max(2, p.columns*p.wide/90)) {
		x := p.plot.Min.X + p.dx + int(k.at*float64(p.wide))
		p.fill(image.Rect(x, y+1, x+1, y+5), frameLine)
		p.text.centre(x, y+18, k.label, ink)
		p.text.centre(x, y+33, k.below, faintInk)
	}
	p.text.left(p.plot.Max.X+9, y+33, "UTC", faintInk)
}

// Of the colours below the plot.
const (
	scaleWidth  = 240
	scaleHeight = 12
	scaleDown   = 56
	scaleGap    = 48 // between the last two numbers
)

// drawScale tells what the colours mean.
func (p *picture) drawScale() {
	most := p.most()
	x, y := p.plot.Min.X, p.plot.Max.Y+scaleDown
	wide := scaleWidth
	if most <= 1 {
		wide = scaleHeight
	}
	p.fill(image.Rect(x-1, y-1, x+wide+1, y+scaleHeight+1), frameLine)
	for i := range wide {
		at := 0.5
		if most > 1 {
			at = float64(i) / float64(wide-1)
		}
		p.fill(image.Rect(x+i, y, x+i+1, y+scaleHeight), shade(at))
	}
	end := x + wide
	for _, n := range scaleNumbers(most) {
		at := x + int(part(n, most)*float64(wide))
		if n == most || at < end-scaleGap {
			p.text.centre(at, y+scaleHeight+16, terminal.Number(n), ink)
		}
	}
	p.text.left(end+24, y+scaleHeight-1, clipped(p.text.small, p.meaning(), p.plot.Max.X-end-24), faintInk)
}

// scaleNumbers returns the powers of ten below most, and most.
func scaleNumbers(most int64) (numbers []int64) {
	for n := int64(1); n < most; n *= 10 {
		numbers = append(numbers, n)
		if n > most/10 {
			break
		}
	}
	return append(numbers, most)
}

// meaning says what is counted.
func (p *picture) meaning() string {
	blocks := "a block"
	if p.perRow > 1 {
		blocks = fmt.Sprintf("one of %s blocks", terminal.Number(p.perRow))
	}
	during := ""
	if p.columns > 1 {
		during = " within " + duration(time.Duration(p.perColumn)*time.Microsecond)
	}
	return "how many times " + blocks + " changed" + during
}

// duration returns a time in its two largest units.
func duration(d time.Duration) string {
	switch {
	case d < time.Minute:
		return d.Round(d/1000 + 1).String()
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d d %d h", d/day, d%day/time.Hour)
}
