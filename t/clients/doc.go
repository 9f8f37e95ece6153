// Package clients tests the clients with real servers: the Go client, libwcfs, and the
// Python package over that. The scenarios here are those of every client that is told by
// lines what to do; libwcfs takes part built with the sanitizers of gcc, which look for
// memory that is used wrongly, and for races. The view of Python is tested in Python, by
// client/python/tests, against the same server.
//
// The exchanges of client/testdata/transcripts have no server: a client is tested by what
// it says to a fake one.
package clients
