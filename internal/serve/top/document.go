package top

import (
	"io"
	"math"

	"github.com/wcfs/wcfs/internal/serve/control"
	"github.com/wcfs/wcfs/internal/serve/terminal"
)

// documentVersion is the version of the JSON. It changes when something is taken away or
// means something else.
const documentVersion = 1

// document is a frame for programs.
type document struct {
	Version int              `json:"version"`
	Servers []serverDocument `json:"servers"`
}

type serverDocument struct {
	control.Summary
	Trouble string  `json:"trouble,omitempty"`
	Head    string  `json:"head_at,omitempty"`
	Over    float64 `json:"interval_seconds"` // that rates are over; 0: there are none
	// Figures that cannot be told are left out.
	Figures map[string]map[string]float64 `json:"figures"`
	Clients []client                      `json:"clients"`
}

func (f *frame) json(out io.Writer) error {
	doc := document{Version: documentVersion, Servers: []serverDocument{}}
	for _, w := range f.servers {
		doc.Servers = append(doc.Servers, w.document())
	}
	return terminal.JSON(out, doc)
}

func (w *watched) document() serverDocument {
	doc := serverDocument{Summary: w.now.server.Summary(), Trouble: w.now.trouble, Head: w.now.head,
		Figures: make(map[string]map[string]float64), Clients: append([]client{}, w.now.clients...)}
	if w.now.metrics == nil {
		return doc
	}
	if w.comparable() {
		doc.Over = w.seconds()
	}
	for _, f := range figures {
		if v, ok := f.value(w); ok && !math.IsNaN(v) && !math.IsInf(v, 0) { // as another program could serve
			if doc.Figures[f.group] == nil {
				doc.Figures[f.group] = make(map[string]float64)
			}
			doc.Figures[f.group][f.name] = v
		}
	}
	return doc
}
