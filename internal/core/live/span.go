package live

// span is the bytes lo <= x < hi of a file.
type span struct{ lo, hi int64 }

// spans is disjoint spans in ascending order.
type spans []span

// subtract returns s without o.
func (s spans) subtract(o span) spans {
	var left spans
	for _, x := range s {
		if o.hi <= x.lo || x.hi <= o.lo {
			left = append(left, x)
			continue
		}
		if x.lo < o.lo {
			left = append(left, span{x.lo, o.lo})
		}
		if o.hi < x.hi {
			left = append(left, span{o.hi, x.hi})
		}
	}
	return left
}
