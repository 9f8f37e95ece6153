// Package catalog finds arrays and files of a database by name, and views by
// time.
//
// # Nouns
//
// A link is a reference from one object to another, with what leads to it: the
// key of a mapping, the index of a list, the name of an attribute. A path is
// the names of the links from the root object on, joined by slashes. The items
// of a BTree belong to the tree: its inner nodes and buckets have no names of
// their own, and neither has the dict inside a PersistentMapping.
//
// An Entry is what there is to know about one array (ZBigArray) or file
// (ZBigFile) at a view. The ZBigFile that an array keeps its data in is a part
// of the array's entry.
//
// # Walking and finding
//
// Walk goes through every object that can be reached, breadth first, and once,
// so each has one path there, the shortest. It does not go into block tables.
// Find goes straight along the names it is given, so any path works, not only
// the shortest.
//
// # Ownership and locking
//
// Nothing here has state or starts goroutines. A Walk keeps the oids it has seen
// and the links it still has to follow, and at most one decoded record at a
// time.
//
// # Caveats
//
// A key of a mapping may itself have slashes in it. Then two objects can have
// the same path; Find takes the one with the longest first key.
//
// An object that cannot be read does not end a Walk, but hides the objects
// that only it leads to.
package catalog
