// Package top shows how servers fare, on one screen that lives.
//
// # Nouns
//
// A look is what was learnt of one server at one moment: the newest transaction, the
// metrics, the clients; or why it did not answer. A figure is a number that is made of a
// look and the one before: all figures are in one table, of which the screen and the JSON
// are made. A frame is the lines that are shown, for whatever width.
//
// # Never hanging
//
// A server may not answer, end, or begin anew. It is asked by children with a time limit, as
// package control does it, while the screen goes on and keys are obeyed. One that does not
// answer is asked more and more rarely, since each question may cost a process that nothing
// can end; meanwhile it is shown what the kernel tells about it.
//
// # Ownership and locking
//
// Run owns a goroutine that looks and one that reads keys, and waits for both. They hand over
// what they have by channels; there is no lock. The terminal is given back as it was, also
// if the program panics, is stopped or is ended by a signal.
//
// # Caveats
//
// Names of servers, programs and databases are chosen by others. They are made harmless,
// and clipped to the width of the terminal, before they are shown.
package top
