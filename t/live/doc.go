// Package live tests the data of a mount: every block at every view, the newest state as
// commits come, old content, the tree and its small files, damage and outages. Live
// databases are in a file, or with -on zeo behind a real ZEO server, with -on neo in a
// cluster that speaks like one of NEO, or with -on postgresql in a real PostgreSQL.
package live
