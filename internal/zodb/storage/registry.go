package storage

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fault"
)

// Drivers maps schemes, in lower case, to what opens them.
type Drivers map[string]Opener

// Open opens the database that zurl names with the driver of its scheme. See
// Opener for what is returned. A bare path goes through Resolve first.
//
// Errors that concern the url or the database are an *OpenError.
func (d Drivers) Open(ctx context.Context, zurl string, opt Options) (_ Storage, at0 zodb.Tid, err error) {
	u, err := ParseURL(zurl)
	if err != nil {
		return nil, 0, err
	}
	open, ok := d[u.Scheme]
	if !ok {
		return nil, 0, &OpenError{
			Reason: fault.UnknownScheme,
			URL:    Redact(zurl),
			Msg:    fmt.Sprintf("databases of kind %q are not supported", u.Scheme),
			Hint:   "supported: " + strings.Join(slices.Sorted(maps.Keys(d)), ", "),
		}
	}
	return open(ctx, u, opt)
}
