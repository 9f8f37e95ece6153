// Package witness tests wcfs by programs that know nothing of it: a client in C that
// was written from doc/protocol.rst, by somebody who has not read the server, and a
// writer that is ZODB itself.
//
// # Who is in a scene
//
// writer.py commits at random whatever can happen to an array, and says after each
// transaction what is in the database now, as ZODB shows it. Clients of all kinds
// (client/) look at the mount at the same time and compare every byte with that.
// Some of them are stopped, die, leave, do not answer, or answer late.
//
// # What must hold
//
// No byte is wrong in any view. Nobody waits for ever. Nobody is ended but who has
// not answered a pin in time. Reads may fail of:
//
//   - views before the time of a pack;
//   - an array that became another one (deleted, created again, other block size),
//     for who has it open; and its states of before, for who wants to watch it;
//   - what ZODB cannot read either, since an undo can leave references to nothing;
//     for who watches a state of before, too;
//   - what a commit has cut off from an array, for who watches a state of before and
//     does not answer pins at once; and for who reads head/ and has not asked for the
//     size since.
//
// In the end the server stops as it should and leaves nothing.
//
// # When it fails
//
// The end of what each client has printed, and of the log of the server, is shown; all
// of it, with the database, is kept with -keep DIRECTORY. -without leaves out kinds of
// transactions (chaos.py), -only all kinds of clients but one (kinds_test.go).
//
// The seed decides what the writer does, and which clients come; it does not
// decide when they are scheduled. The command that is printed repeats as much
// as can be.
package witness
