package heatmap

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// Sizes of letters, in pixels.
const (
	smallLetters = 12
	largeLetters = 18
)

// pen writes on a picture.
type pen struct {
	on           draw.Image
	small, large font.Face
}

func newPen(on draw.Image) (*pen, error) {
	letters, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, fmt.Errorf("read the font: %w", err)
	}
	p := &pen{on: on}
	for _, f := range []struct {
		face *font.Face
		size float64
	}{{&p.small, smallLetters}, {&p.large, largeLetters}} {
		if *f.face, err = opentype.NewFace(letters, &opentype.FaceOptions{Size: f.size, DPI: 72, Hinting: font.HintingFull}); err != nil {
			return nil, fmt.Errorf("read the font: %w", err)
		}
	}
	return p, nil
}

func (p *pen) write(face font.Face, x, y int, text string, c color.Color) {
	d := font.Drawer{Dst: p.on, Src: image.NewUniform(c), Face: face, Dot: fixed.P(x, y)}
	d.DrawString(text)
}

func (p *pen) title(x, y int, text string) { p.write(p.large, x, y, text, ink) }

// left writes text that begins at x, and y is where letters stand.
func (p *pen) left(x, y int, text string, c color.Color) { p.write(p.small, x, y, text, c) }

// right writes text that ends at x.
func (p *pen) right(x, y int, text string, c color.Color) {
	p.write(p.small, x-font.MeasureString(p.small, text).Round(), y, text, c)
}

// centre writes text with its middle at x.
func (p *pen) centre(x, y int, text string, c color.Color) {
	p.write(p.small, x-font.MeasureString(p.small, text).Round()/2, y, text, c)
}

// clipped returns as much of text as has room, with dots if that is not all.
func clipped(face font.Face, text string, room int) string {
	if font.MeasureString(face, text).Round() <= room {
		return text
	}
	letters := []rune(text)
	for len(letters) > 0 && font.MeasureString(face, string(letters)+"...").Round() > room {
		letters = letters[:len(letters)-1]
	}
	return string(letters) + "..."
}
