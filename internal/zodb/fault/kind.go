package fault

import (
	"fmt"
	"strings"
	"syscall"
)

// Kind classifies errors by what can be done about them.
type Kind int

// The kinds. A comment stands where the text of the exit code does not say all.
const (
	Other         Kind = iota // an error that has no kind of its own
	Uncertain                 // a transaction may be lost, or may be there; look before it is done again
	Usage                     // the command line cannot be understood
	Mounted                   // something is mounted at the mount point
	Running                   // the server that was to be started runs already
	Taken                     // the server at the mount point is another user's
	NotRunning                // there is no server
	BadMountpoint             // missing, not a directory, not empty
	ForeignPoint              // the mount point is another user's; there may be another place
	Unreachable               // the database does not exist or cannot be read, or nobody listens
	NotADatabase              // it is there, but is not what the url says, or is damaged
	Damaged                   // an object, or the database as a whole, cannot be right
	OldKernel                 // the kernel lacks, or does not permit, what is needed
	NoFUSE                    // there is no /dev/fuse, or no permission to mount
	Stuck                     // the server does not answer, or does not go away
	ClientsEnded              // the server was stopped, but clients had to be ended for that
	BadURL                    // the url cannot be understood
	UnknownScheme             // there is no driver for this kind of database
	Exists                    // the name is taken
	NoSpace                   // the disk or a quota is full, or a limit is reached
	NotFound                  // there is no array or file of that name
	NoView                    // the view is newer than the database
	Locked                    // another writer has the database
	Changed                   // another writer was faster
	Input                     // the file to be imported cannot be used
	Aborted                   // somebody aborted the FUSE connection
	Bug                       // a mistake in this program
	NotFile                   // the object is no file; clients of the protocol rely on its errno
	NoName                    // nothing can ever have that name
	TooMany                   // a limit of what clients may open is reached
	NotOurs                   // the server may not end the client
)

// meaning is what a kind means outside of the program.
type meaning struct {
	exit  int           // of commands
	errno syscall.Errno // of requests to a mount; 0: that of the cause, or else EIO
	short string        // of the exit code, for --help; "" if another kind has it
	long  string        // the same, for the manual and the documents; without short: of the errno
}

// meanings has a row for each kind. Exit codes are a promise to scripts: a number is never
// given another meaning.
var meanings = [...]meaning{
	Other:         {1, 0, "other failure", "another failure"},
	Uncertain:     {exit: 1},
	Usage:         {2, 0, "wrong usage", "the command line cannot be understood"},
	Mounted:       {3, 0, "already mounted", "something is mounted at the mount point already"},
	Running:       {exit: 3},
	Taken:         {exit: 3},
	NotRunning:    {4, 0, "not running", "no server runs there"},
	BadMountpoint: {5, 0, "mount point unusable", "the mount point is missing, is no directory, or is not empty"},
	ForeignPoint:  {exit: 5},
	Unreachable:   {6, 0, "database unreachable", "the database does not exist or cannot be read"},
	NotADatabase:  {7, 0, "not a database or damaged", "it is not a database, or is damaged"},
	Damaged:       {7, syscall.EIO, "", "what is stored for it cannot be right"},
	OldKernel:     {8, 0, "kernel too old or too strict", "the kernel is too old (before Linux 5.10), or does not permit what is needed"},
	NoFUSE:        {9, 0, "FUSE not available or not permitted", "FUSE is not available, or mounting is not permitted"},
	Stuck:         {10, 0, "server stuck", "the server does not answer"},
	ClientsEnded:  {11, 0, "clients had to be ended", "the server was stopped, but clients had to be ended"},
	BadURL:        {12, 0, "unsupported url", "this kind of database is not supported, or the url is malformed"},
	UnknownScheme: {exit: 12},
	Exists:        {13, 0, "name exists already", "there is an array or file of that name already, or a database is in its place"},
	NoSpace:       {14, 0, "disk full", "the disk or a quota is full, or a limit is reached; nothing was written"},
	NotFound:      {15, 0, "nothing of that name", "the database has no array or file of that name, or no such view"},
	NoView:        {15, syscall.ENOENT, "", "that state is not there yet"},
	Locked:        {16, 0, "database locked by another writer", "another writer has the database open, or has changed the same meanwhile"},
	Changed:       {exit: 16},
	Input:         {17, 0, "input file unusable", "the file to be imported cannot be used"},
	Aborted:       {18, 0, "FUSE connection aborted", "somebody aborted the FUSE connection of the server"},
	Bug:           {70, 0, "bug in wcfs", "a bug in wcfs"},
	NotFile:       {1, syscall.EINVAL, "", "the object is no array, or is not there at that state"},
	NoName:        {1, syscall.ENOENT, "", "it is neither an oid nor a state"},
	TooMany:       {1, syscall.EMFILE, "", "too many links are open, by the process or in all"},
	NotOurs:       {1, syscall.EACCES, "", "``head/watch``: the server may not end the process"},
}

// Exit returns the exit code of a command that ends with an error of the kind.
func (k Kind) Exit() int { return meanings[k].exit }

// Errno returns what a request to a mount is answered that ends with an error of the kind,
// 0 if the cause of the error decides.
func (k Kind) Errno() syscall.Errno { return meanings[k].errno }

// Exit returns the exit code of a command that ends with err, which may be nil.
func Exit(err error) int {
	if err == nil {
		return 0
	}
	return Of(err).Exit()
}

// OfExit returns the kind that a program of ours ended with that has this exit code.
func OfExit(code int) Kind {
	for kind, m := range meanings {
		if m.exit == code {
			return Kind(kind)
		}
	}
	return Other
}

// ExitCode is an exit code and what it says.
type ExitCode struct {
	Code  int
	Short string
	Long  string
}

// ExitCodes returns all exit codes, in ascending order.
func ExitCodes() []ExitCode {
	codes := []ExitCode{{0, "ok", "done; for serve: stopped in an orderly way"}}
	for _, m := range meanings {
		if m.short != "" {
			codes = append(codes, ExitCode{m.exit, m.short, m.long})
		}
	}
	return codes
}

// helpWidth is how long a line of the help may be, in bytes.
const helpWidth = 80

// Help returns the exit codes as a paragraph for --help.
func Help() string {
	var text strings.Builder
	text.WriteString("Exit codes:")
	width := text.Len()
	codes := ExitCodes()
	for i, c := range codes {
		end := ","
		if i == len(codes)-1 {
			end = "."
		}
		for _, word := range strings.Fields(fmt.Sprint(c.Code, " ", c.Short, end)) {
			if width+1+len(word) > helpWidth {
				text.WriteString("\n" + word)
				width = len(word)
			} else {
				text.WriteString(" " + word)
				width += 1 + len(word)
			}
		}
	}
	return text.String()
}
