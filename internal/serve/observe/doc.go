// Package observe is what operators see of a running server: metrics, a trace of
// operations, and whether it is healthy.
//
// # Nouns
//
// An Observer is told of every request when it begins and when it ended, and of
// other events: commits, pins, ends of clients, loads. From these it makes
// counters and, while somebody listens, lines. A Reader is somebody who listens.
// Health is a list of checks, each with the reason why it fails.
//
// # Metrics
//
// Names are in base units and begin with wcfs_. Those of the Go runtime (go_) and
// of the process (process_) come on top.
//
//	build_info{version,revision,goversion}    1
//	start_time_seconds                        when the server was started
//	head_tid                                  commit time of the newest view, seconds since 1970
//	head_lag_seconds                          age of the oldest commit that head/ does not show; 0 if it shows all
//	eio_mode                                  1 from when the database cannot be followed any more
//	panics_total                              mistakes of the server
//	fuse_requests_total{op,errno}             answered requests; errno is OK or a name
//	fuse_request_duration_seconds{op}         from the arrival of a request to its answer
//	fuse_inflight{op}                         requests that are not answered
//	read_bytes_total{view}                    data that READs gave; view is head or rev
//	head_reads, head_reads_waiting            READs of head/ without a reply; those that wait for a client
//	block_loads_total{source}                 see below
//	block_load_errors_total                   loads that failed
//	block_load_duration_seconds               loads that gave a block, the wait for their turn included
//	pagecache_store_errors_total              rests of blocks that the page cache did not take
//	invalidations_total{kind}                 tx, file, block: transactions taken in, and what they changed of files
//	invalidation_duration_seconds             from when a transaction is known to when head/ shows it
//	evictions_total                           blocks dropped from the page cache since there were too many
//	zwatch_queue_depth                        transactions that wait, if the driver tells
//	bigfiles, revisions                       files of head/, directories @tid
//	watchlinks, watches, pinned_blocks        opens of head/watch, and what clients watch and have pinned
//	pins_total, pin_duration_seconds          pins sent; from sending to the acknowledgement, or the end of patience
//	clients_killed_total{reason}              timeout, refused, protocol, closed
//	trace_readers                             who reads .wcfs/trace
//	tail_entries, tail_coverage_seconds       transactions that are remembered, and how far they reach back
//	served_blocks, tracked_objects{kind}      blocks the page cache may have; objects they depend on
//	preserved_bytes                           old content in memory for clients before the last commit
//	storage_up                                1, or 0 while the server of the database is away
//	storage_disconnected_seconds              since when; 0 if it is there
//	storage_reconnects_total                  connections to it after the first one
//	storage_node_connected{…}                 1 or 0, of a node of its cluster: {role,node,address}
//	storage_node_partitions{…}                what can be read from a node
//	storage_node_answers_total{…}             what a node has answered
//	storage_requests_total{driver,op,result}  calls of the database; result is ok, no_data or error
//	storage_request_duration_seconds{driver,op}
//	zodb_cache_hits_total, _misses_total      of the cache of BTree nodes
//	zodb_cache_bytes                          what it takes
//
// The sources of a block are zodb (loaded, or found to be a hole), preserved (kept
// since it changed), inflight (a load under way), retained (another request has it).
// Each object that is loaded is a load of storage_requests_total; several that are loaded by
// one call have one duration.
//
// Reads of streams, which wait for something to happen, are the op stream_read.
//
// There is no wcfs_up, since Prometheus has its own; no count of tail rebuilds,
// since nothing is rebuilt.
//
// # Ownership and locking
//
// An Observer owns no goroutine; a check that does not return keeps one. Begin and End
// take no lock, allocate nothing and take well below a microsecond. Lines go to the
// queue of each Reader under a lock of its own that is held for copying only: a Reader
// who is slow loses lines, and is told how many. Each gauge asks the owner of its
// number when somebody looks.
//
// # Caveats
//
// The words of an Observer are public to everybody who may read the mount or reach
// the address of the metrics: paths, process ids, names of programs, but no data.
package observe
