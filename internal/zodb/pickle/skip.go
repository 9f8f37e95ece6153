package pickle

import (
	"bufio"
	"bytes"
	"math"
)

// Skip reads over one pickle, and no further. Nobody has looked into what is there:
// lines with a zero byte, which Python never writes, and arguments of more than 2 GiB
// are refused. The error is an *Error, or the one that reading failed with.
func Skip(r *bufio.Reader) error {
	a := abridger{r: r, longest: math.MaxInt32}
	for {
		op, err := r.ReadByte()
		if err == nil {
			err = a.op(op)
		}
		switch {
		case err != nil:
			return err
		case opcodes[op].arg&lines != 0 && bytes.IndexByte(a.out, 0) >= 0:
			return &Error{Pos: int(a.pos), Msg: "a line with a zero byte"}
		case op == OpStop:
			return nil
		}
		a.out = a.out[:0]
	}
}
