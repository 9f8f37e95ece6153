package zwrite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"lab.nexedi.com/kirr/neo/go/zodb"
	fsfmt "lab.nexedi.com/kirr/neo/go/zodb/storage/fs1"
)

// Options says how to write a database. The zero Options are good for use.
type Options struct {
	// NoSync leaves out fsync. Then a crash of the machine, not of the
	// process, may destroy the database: for tests only.
	NoSync bool

	// Now is the clock that tids are made from, time.Now if nil.
	Now func() time.Time

	// Buffer is how many bytes of records a transaction keeps in memory
	// before it writes them behind the end of the file, 0 for 16 MiB.
	Buffer int64

	// Wrap, if not nil, returns what is used instead of the opened data file.
	// It lets tests stop or fail a writer between its steps.
	Wrap func(File) File

	// Warnf, if not nil, is told what is worth a line in the log.
	Warnf func(format string, args ...any)

	// Progress, if not nil, is told how many bytes of how many were looked
	// through while a database is opened.
	Progress func(done, total int64)

	scanLimit int64 // saved indices are not used for files up to this size, 0 for the default
}

const (
	defaultBuffer    = 16 << 20  // more only takes memory out of the caches
	defaultScanLimit = 256 << 20 // a second or less of scanning
)

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Buffer == 0 {
		o.Buffer = defaultBuffer
	}
	if o.Warnf == nil {
		o.Warnf = func(string, ...any) {}
	}
	if o.Progress == nil {
		o.Progress = func(done, total int64) {}
	}
	if o.scanLimit == 0 {
		o.scanLimit = defaultScanLimit
	}
	return o
}

// DB is a database opened for writing.
type DB struct {
	path string
	opt  Options
	f    File
	lock *os.File      // holds the lock while it is open
	turn chan struct{} // whoever put something into it may write

	// python2 is the protocol of pickles for an application on Python 2, 0 if it
	// has Python 3.
	python2 int

	mu      sync.RWMutex
	index   *fsfmt.Index // guarded by mu; TopPos is the end of the last transaction
	last    zodb.Tid     // guarded by mu; its tid, 0 if there is none
	lastOid zodb.Oid     // guarded by mu; highest oid that is or was handed out
	unsaved bool         // guarded by mu; the index on disk is not that of the file
	broken  error        // guarded by mu; why nothing can be written any more
	closed  bool         // guarded by mu
}

// Create makes a new, empty database, and opens it. Errors: *LockedError, one
// that wraps fs.ErrExist if there is a file, those of the operating system.
func Create(ctx context.Context, path string, opt Options) (*DB, error) {
	return open(ctx, path, opt, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

// Open opens an existing database. A file of length 0 is an empty database.
// ctx bounds the scan of the file.
//
// Errors: *LockedError, *DamageError, the error of ctx, those of the operating
// system.
func Open(ctx context.Context, path string, opt Options) (*DB, error) {
	return open(ctx, path, opt, os.O_RDWR)
}

func open(ctx context.Context, path string, opt Options, flags int) (_ *DB, err error) {
	// The index and tails are saved beside the file whatever becomes of the
	// directory of the process.
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open %s for writing: %w", path, err)
	}
	if flags&os.O_CREATE == 0 {
		// No lock file is left beside something that is no database.
		if fi, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("open for writing: %w", err)
		} else if !fi.Mode().IsRegular() {
			return nil, fmt.Errorf("open %s for writing: not a regular file", path)
		}
	}
	db := &DB{path: path, opt: opt.withDefaults(), turn: make(chan struct{}, 1)}
	db.lock, err = lock(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			db.lock.Close()
		}
	}()
	f, err := os.OpenFile(path, flags, 0o666)
	if err != nil {
		return nil, fmt.Errorf("open for writing: %w", err)
	}
	db.f = osFile{f}
	if db.opt.Wrap != nil {
		db.f = db.opt.Wrap(db.f)
	}
	if db.opt.NoSync {
		db.f = noSync{db.f}
	}
	if err := db.start(ctx, flags&os.O_CREATE != 0); err != nil {
		db.f.Close()
		if flags&os.O_CREATE != 0 {
			os.Remove(path)
		}
		return nil, fmt.Errorf("open %s for writing: %w", path, err)
	}
	return db, nil
}

// start makes db complete from its file.
func (db *DB) start(ctx context.Context, created bool) error {
	size, err := db.f.Size()
	if err != nil {
		return err
	}
	magic := magicPy3
	if size == 0 {
		if err := db.writeMagic(created); err != nil {
			return err
		}
		size = firstTxnPos
	} else if magic, err = magicOf(db.f); err != nil {
		return err
	} else if magic != magicPy2 && magic != magicPy3 {
		return fmt.Errorf("not a FileStorage: it begins with %q, not %q or %q", magic, magicPy2, magicPy3)
	}
	if err := db.buildIndex(ctx, size); err != nil {
		return err
	}
	if err := db.findPython2(magic); err != nil {
		return err
	}
	db.lastOid = 0 // the root object, which need not exist yet
	if db.index.Len() > 0 {
		db.lastOid, _ = db.index.Last()
	}
	if db.index.TopPos < size {
		return db.cutTail(size)
	}
	return nil
}

func (db *DB) writeMagic(created bool) error {
	if _, err := db.f.WriteAt([]byte(magicPy3), 0); err != nil {
		return err
	}
	if err := db.f.Sync(); err != nil {
		return err
	}
	if !created || db.opt.NoSync {
		return nil
	}
	dir, err := os.Open(filepath.Dir(db.path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// cutTail saves what is behind the last finished transaction to a new file, and
// cuts it off.
func (db *DB) cutTail(size int64) error {
	end := db.index.TopPos
	save, err := db.createTailFile()
	if err != nil {
		return fmt.Errorf("save the unfinished transaction at position %d: %w", end, err)
	}
	_, err = io.Copy(save, io.NewSectionReader(db.f, end, size-end))
	if err == nil && !db.opt.NoSync {
		err = save.Sync()
	}
	err = errors.Join(err, save.Close())
	if err != nil {
		os.Remove(save.Name())
		return fmt.Errorf("save the unfinished transaction at position %d: %w", end, err)
	}
	db.opt.Warnf("%s: %d bytes of an unfinished transaction at position %d are cut off and saved to %s", db.path, size-end, end, save.Name())
	if err := db.f.Truncate(end); err != nil {
		return fmt.Errorf("cut off the unfinished transaction at position %d: %w", end, err)
	}
	return nil
}

// createTailFile creates the first of path.tr0, path.tr1, ... that does not
// exist.
func (db *DB) createTailFile() (*os.File, error) {
	for i := range math.MaxInt32 {
		f, err := os.OpenFile(fmt.Sprintf("%s.tr%d", db.path, i), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
	return nil, fs.ErrExist
}

// Path returns the absolute path of the data file.
func (db *DB) Path() string { return db.path }

// Head returns the tid of the last transaction, 0 for an empty database.
func (db *DB) Head() zodb.Tid {
	db.mu.RLock()
	defer db.mu.RUnlock()
	return db.last
}

// Close saves the index and gives up the lock. It fails with ErrBusy while
// there is a transaction. Closing a closed DB does nothing.
func (db *DB) Close() error {
	select {
	case db.turn <- struct{}{}:
	default:
		return fmt.Errorf("close %s: %w", db.path, ErrBusy)
	}
	defer func() { <-db.turn }()
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil
	}
	db.closed = true
	var err error
	if db.unsaved && db.broken == nil {
		err = db.saveIndex()
	}
	// The lock goes last.
	if err = errors.Join(err, db.f.Close(), db.lock.Close()); err != nil {
		return fmt.Errorf("close %s: %w", db.path, err)
	}
	return nil
}

// usable returns why db cannot be used, or nil.
func (db *DB) usable() error {
	db.mu.RLock()
	defer db.mu.RUnlock()
	switch {
	case db.closed:
		return fmt.Errorf("%s: %w", db.path, ErrClosed)
	case db.broken != nil:
		return fmt.Errorf("%s must be opened anew: %w", db.path, db.broken)
	}
	return nil
}

// breakDown makes all further transactions fail, because it is not known any
// more what is behind the end of the file.
func (db *DB) breakDown(why error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.broken == nil {
		db.broken = why
	}
}
