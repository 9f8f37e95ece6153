// Package control starts, lists, examines and stops servers from outside.
//
// # Nouns
//
// A Server is a mount of wcfs together with the process that serves it, as the
// kernel shows them: the mount table, /proc, and the control files of the FUSE
// connection. A Target names a server, as a person does. A Report is the result
// of examining one; a Dump says why one does not answer.
//
// # Never hanging
//
// A server may be stopped, dead-locked or dead, and a process that asks its
// mount then waits for good, perhaps without a signal being able to end it. So
// this package never touches a mount. A child does (mount.Prober), and is left
// behind if it does not come back. The files of other processes in /proc may
// wait too, for their page faults; they are read in a goroutine which nobody
// waits for longer than a limit, and which the end of the process ends.
//
// # Ownership
//
// Nothing here outlives the call that made it, but for children and
// goroutines left behind as above, and the server that Start has started.
//
// # Caveats
//
// Processes of other users, and of other pid namespaces, can only be seen by root,
// or not at all. A server without a visible process can be examined, and stopped
// as far as its mount goes.
package control
