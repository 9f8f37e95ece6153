package server

// DownError says that the server had to stop since it cannot learn any more what
// changes in the database.
type DownError struct{ Err error }

func (e *DownError) Error() string { return e.Err.Error() }
func (e *DownError) Unwrap() error { return e.Err }
