package zwrite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"lab.nexedi.com/kirr/go123/xerr"
	"lab.nexedi.com/kirr/neo/go/zodb"

	"github.com/wcfs/wcfs/internal/zodb/fsformat"
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

	// Disposable, if not nil, says by the description of an unfinished transaction
	// whether who wrote it can write it again, so that it need not be kept.
	Disposable func(description []byte) bool

	// Leftover, if not nil, is told what was taken away of unfinished transactions.
	Leftover func(Leftover)

	// Warnf, if not nil, is told what is worth a line in the log.
	Warnf func(format string, args ...any)

	// Progress, if not nil, is told how many bytes of how many were looked
	// through while a database is opened.
	Progress func(done, total int64)

	scanLimit int64 // saved indices are not used for files up to this size, 0 for the default
}

const defaultBuffer = 16 << 20 // more only takes memory out of the caches

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
	if o.Disposable == nil {
		o.Disposable = func([]byte) bool { return false }
	}
	if warnf := o.Warnf; o.Leftover == nil {
		o.Leftover = func(l Leftover) { warnf("%+v", l) }
	}
	if o.Progress == nil {
		o.Progress = func(done, total int64) {}
	}
	if o.scanLimit == 0 {
		o.scanLimit = fsformat.ScanLimit
	}
	return o
}

// DB is a database opened for writing.
type DB struct {
	path    string
	opt     Options
	f       File
	locks   *locks        // held while it is open
	like    likeness      // of files beside it
	created bool          // by Create
	turn    chan struct{} // whoever put something into it may write

	// python2 is the protocol of pickles for an application on Python 2, 0 if it
	// has Python 3.
	python2 int

	mu      sync.RWMutex
	index   *fsformat.Index // guarded by mu; TopPos is the end of the last transaction
	last    zodb.Tid        // guarded by mu; its tid, 0 if there is none
	lastOid zodb.Oid        // guarded by mu; highest oid that is or was handed out
	unsaved bool            // guarded by mu; the index on disk is not that of the file
	broken  error           // guarded by mu; why nothing can be written any more
	closed  bool            // guarded by mu
}

// Create makes a new, empty database, and opens it. Errors: *LockedError, one
// that wraps fs.ErrExist if there is a file, those of the operating system.
func Create(ctx context.Context, path string, opt Options) (*DB, error) {
	return open(ctx, path, opt, true)
}

// Open opens an existing database. A file of length 0 is an empty database.
// ctx bounds the scan of the file.
//
// Errors: *LockedError, *UnsafeError, *DamageError, the error of ctx, those of the
// operating system.
func Open(ctx context.Context, path string, opt Options) (*DB, error) {
	return open(ctx, path, opt, false)
}

func open(ctx context.Context, path string, opt Options, create bool) (_ *DB, err error) {
	// The index and tails are saved beside the file whatever becomes of the
	// directory of the process.
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open %s for writing: %w", path, err)
	}
	db := &DB{path: path, opt: opt.withDefaults(), created: create, turn: make(chan struct{}, 1)}
	if err := db.takeLocks(); err != nil {
		return nil, err
	}
	f, err := db.openFile()
	if err != nil {
		db.locks.undo()
		return nil, err
	}
	db.f = osFile{f}
	if db.opt.Wrap != nil {
		db.f = db.opt.Wrap(db.f)
	}
	if db.opt.NoSync {
		db.f = noSync{db.f}
	}
	if err := db.start(ctx); err != nil {
		if create {
			_ = os.Remove(path)
		}
		_ = db.f.Close()
		db.locks.undo()
		return nil, fmt.Errorf("open %s for writing: %w", path, err)
	}
	return db, nil
}

// takeLocks takes the locks of the database by all its names. No lock file is left
// beside something that is no database.
func (db *DB) takeLocks() error {
	names := []string{db.path}
	if !db.created {
		fi, err := os.Stat(db.path)
		if err == nil && !fi.Mode().IsRegular() {
			err = errors.New("not a regular file")
		}
		if err == nil {
			err = checkNames(db.path, fi)
		}
		if err == nil {
			names, err = namesOf(db.path)
		}
		if err != nil {
			return fmt.Errorf("open %s for writing: %w", db.path, err)
		}
		db.like = likenessOf(fi)
	}
	var err error
	db.locks, err = lock(db.path, names, db.like)
	return err
}

// openFile opens the data file when it is sure that nobody writes to it, and locks it
// itself, for imports that have it by other names.
func (db *DB) openFile() (*os.File, error) {
	flags := os.O_RDWR
	if db.created {
		flags |= os.O_CREATE | os.O_EXCL
	} else if err := db.checkAlone(); err != nil {
		return nil, fmt.Errorf("lock %s: %w", db.path, err)
	}
	f, err := os.OpenFile(db.path, flags, 0o666)
	if err != nil {
		return nil, fmt.Errorf("open for writing: %w", err)
	}
	err = ignoringEINTR(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = &LockedError{Path: db.path}
	}
	var fi os.FileInfo
	if err == nil {
		fi, err = f.Stat()
	}
	if err == nil && !db.created { // it may have been replaced before it was locked
		err = checkNames(db.path, fi)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", db.path, err)
	}
	db.like = likenessOf(fi)
	return f, nil
}

func (db *DB) checkAlone() error {
	f, err := os.Open(db.path)
	if err != nil {
		return err
	}
	defer f.Close()
	return checkNobodyWrites(db.path, f)
}

// start makes db complete from its file.
func (db *DB) start(ctx context.Context) error {
	size, err := db.f.Size()
	if err != nil {
		return err
	}
	magic, isDatabase := fsformat.MagicPy3, true
	if size == 0 {
		if err := db.writeMagic(); err != nil {
			return err
		}
		size = fsformat.FirstTxnPos
	} else if magic, isDatabase, err = fsformat.ReadMagic(db.f); err != nil {
		return err
	} else if !isDatabase {
		return fmt.Errorf("not a FileStorage: it begins with %q, not %q or %q", magic, fsformat.MagicPy2, fsformat.MagicPy3)
	}
	if err := db.buildIndex(ctx, size); err != nil {
		return db.damaged(err)
	}
	if err := db.findPython2(magic); err != nil {
		return err
	}
	db.lastOid = 0 // the root object, which need not exist yet
	if db.index.Len() > 0 {
		db.lastOid, _ = db.index.Last()
	}
	db.removeTails()
	if db.index.TopPos < size {
		return db.cutTail(size)
	}
	return nil
}

func (db *DB) writeMagic() error {
	if _, err := db.f.WriteAt([]byte(fsformat.MagicPy3), 0); err != nil {
		return err
	}
	if err := db.f.Sync(); err != nil {
		return err
	}
	if !db.created || db.opt.NoSync {
		return nil
	}
	dir, err := os.Open(filepath.Dir(db.path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
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
	return db.end(func() (err error) {
		if db.unsaved && db.broken == nil {
			err = db.saveIndex()
		}
		// The lock goes last.
		return errors.Join(err, db.f.Close(), db.locks.close())
	})
}

// Abandon closes the database like Close, and takes away what opening it has made: lock
// files, and the database itself if it was created and has no transaction. No index
// is saved. It is for who could not do what the database was opened for.
func (db *DB) Abandon() error {
	return db.end(func() (err error) {
		if db.created && db.index.TopPos == fsformat.FirstTxnPos && !errors.Is(db.broken, ErrForeign) {
			err = os.Remove(db.path)
		}
		err = errors.Join(err, db.f.Close())
		db.locks.undo()
		return err
	})
}

// end closes the database by last, once, if there is no transaction.
func (db *DB) end(last func() error) (err error) {
	defer xerr.Contextf(&err, "close %s", db.path)
	select {
	case db.turn <- struct{}{}:
	default:
		return ErrBusy
	}
	defer func() { <-db.turn }()
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil
	}
	db.closed = true
	return last()
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
