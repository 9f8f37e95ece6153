package fusefs

// traceName is the file below .wcfs/ of which every open reads a line for every
// request that is answered, and for what else happens. Nobody waits for a reader
// who is slow. Requests about the file itself are not told.
const traceName = "trace"

func (t *FS) openTrace() (stream, error) { return t.opt.Observer.OpenTrace() }
