// Package perf measures wcfs from the outside, beside yardsticks. Its benchmarks do it as
// those of other packages; make bench prints what they find as the table of
// doc/performance.rst.
//
// # Rows
//
// A row is a figure of the server beside that of a yardstick. Both are taken by turns,
// within the same seconds, so that a busy machine slows both, and the row has the median of
// each and their ratio. The number of rounds is -benchtime, as in 7x.
//
// # Yardsticks
//
// The yardstick of most rows is C: a FUSE server of some hundred lines, yardstick/yardstick.c, which
// answers every READ from memory, has one file, and asks the kernel for the same as wcfs:
// requests of the same size and as many at a time. The time that both have in common is that
// of the kernel. Others are tmpfs, and what the server itself needs for the same in another
// state: reading what is cold in place of what has changed, or the first steps of many.
//
// # Processes
//
// The servers are children. Programs that map a mount are helpers, as everywhere below t/: a
// reader reads and maps what it is told (reader_test.go), watchers hold many watches
// (watchers_test.go). They take the times themselves, so that telling them costs nothing.
package perf
