package heatmap

import (
	"image/color"
	"math"
)

var (
	background = color.RGBA{255, 255, 255, 255}
	paper      = color.RGBA{246, 247, 249, 255} // of bins in which nothing changed
	frameLine  = color.RGBA{150, 156, 166, 255}
	gridLine   = color.RGBA{226, 229, 234, 255}
	ink        = color.RGBA{38, 42, 50, 255}
	faintInk   = color.RGBA{104, 110, 122, 255}
)

// scale is colours from few to many changes, the lightest still clear on paper. They differ
// in lightness, so they can be told apart by everybody and in print.
var scale = []color.RGBA{
	{253, 187, 99, 255}, {244, 128, 73, 255}, {213, 70, 92, 255}, {147, 38, 121, 255}, {72, 22, 112, 255}, {22, 11, 57, 255},
}

// shade returns the colour at part of the scale, from 0 to 1.
func shade(part float64) color.RGBA {
	at := min(max(part, 0), 1) * float64(len(scale)-1)
	i := min(int(at), len(scale)-2)
	mix := func(a, b uint8) uint8 { return uint8(math.Round(float64(a) + (float64(b)-float64(a))*(at-float64(i)))) }
	a, b := scale[i], scale[i+1]
	return color.RGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 255}
}

// part returns where on the scale n of at most most changes are: it is logarithmic, since
// few changes are to be seen beside many.
func part(n, most int64) float64 {
	if most <= 1 {
		return 0.5
	}
	return math.Log(float64(n)) / math.Log(float64(most))
}
