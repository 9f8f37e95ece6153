// Package naming makes the tree of names that a mount shows: head/arrays and @<tid>/arrays.
//
// # Nouns
//
// A directory is an object that leads to others, or a dict, a list or the like inside of an
// object. An item is one name in a directory: a directory again, an array (NAME.npy and
// NAME.json), a file without array (NAME.json), or an array that leads to other objects,
// which is both. A path is the names from the root object on, joined by slashes. The links of
// an object are those that catalog finds, so the tree has all the paths that wcfs ls prints.
//
// A listing is all that one object links to, with the directories inside of it.
//
// # Names
//
// A name is the key, the index or the attribute that leads on, with these exceptions:
//
//	%XX      a byte of a character that is a percent sign, a slash, or not printable,
//	         a byte that is no valid UTF-8, the first dot of the names . and .., and the
//	         last dot of names that end with .npy or .json
//	%empty   the empty name
//	%~HASH   the end of a name that would be too long: 32 digits of its SHA-256; the .json
//	         file has the whole name
//	%@OID    after all that: the second and each further object with the same path
//
// A percent sign that is part of a key is %25, so no key looks like one of these. Of several
// objects with the same path the first has the plain name, as for catalog.Find: of an item
// and an attribute the item, of the keys 1 and "1" of a dict the one that was put there
// first. A value with directories inside comes before all of them.
//
// # Every walk ends
//
// Objects refer to each other in circles, and to the same object from many places, so there
// are more paths than anybody can go. Therefore a directory is real in one place only, among
// those that its path knows of: if an object on the path, or the one it is linked by, leads
// to it with as many names or fewer, the item is a symbolic link to there. A shortest path,
// as wcfs ls prints it, never goes through such a link. A directory whose path would be
// longer than programs can open is not shown.
//
// # What it costs
//
// A listing costs the record of the object, or all nodes of its BTree, and the records of
// those children whose class does not tell whether they are arrays. For arrays that is
// always so, since an array of Python objects has no .npy. To find one name costs the listings
// on its path, and one record. Listings are cached with a bound on the sum of their names.
//
// A reference that says that an array is a mapping is believed.
//
// # Ownership and locking
//
// Tree owns the goroutines that read listings; Close waits for them. Its lock is for map
// operations only. Listings are immutable, but for notes on what their children are, which
// are atomic.
package naming
