"""Random transactions of every kind that can happen to a file."""
import random
from base64 import decodebytes

from BTrees.LOBTree import LOBTree
from ZODB.FileStorage.FileStorage import FileStorageError
from ZODB.POSException import POSKeyError, UndoError

from wendelin.bigfile.file_zodb import ZBlk0, ZBlk1, ZData

# Small nodes: a few blocks make a tree with all that trees have.
LOBTree.max_leaf_size = 6
LOBTree.max_internal_size = 5

SIZES = (4 << 10, 4 << 10, 8 << 10, 64 << 10, 512 << 10, 2 << 20)
LARGEST = 24 << 20  # bytes of a file

WEIGHTS = {
    "write": 30,
    "append": 12,
    "grow": 3,  # a block far behind the end
    "zero": 4,
    "hole": 4,
    "shrink": 3,
    "share": 4,  # one block object in two places
    "move": 4,
    "tree": 3,  # another block table of the same content
    "twin": 1,  # one block table of two files
    "kind": 3,  # another class of block, same content
    "same": 2,  # records that say what was said before
    "other": 2,  # objects that are of no file
    "undo": 8,
    "redo": 4,
    "abort": 3,  # after the vote, when all is in the data file
    "create": 1,
    "recreate": 1.5,  # deleted, and created again by the next ones
    "resize": 0.5,  # another block size
    "pack": 0.7,
    "reopen": 0.4,  # the writer, as after a restart
}


def tid_of(undo_id):
    return decodebytes(undo_id + b"\n")


class Chaos:
    def __init__(self, db, seed, without):
        unknown = set(without) - set(WEIGHTS) - {""}
        if unknown:
            raise SystemExit(f"there are no transactions of kind {unknown}; there are {list(WEIGHTS)}")
        self.db, self.random = db, random.Random(seed)
        self.weights = {kind: w for kind, w in WEIGHTS.items() if kind not in without}
        self.deleted = {}  # oid -> blksize
        db.begin()
        self.oids = [db.create(None, size)._p_oid for size in SIZES]
        db.commit("create")
        for oid in self.oids * 3:
            db.begin()
            self.append(db.file(oid))
            db.commit("append")

    def step(self):
        """Does one thing and returns its name."""
        kind = self.random.choices(*zip(*[(k, w) for k, w in self.weights.items()]))[0]
        self.db.begin()
        try:
            getattr(self, "do_" + kind, self.change)(kind)
        except POSKeyError:  # something that an undo has left
            self.db.abort()
            return kind + "-failed"
        return kind

    def change(self, kind):
        """Commits changes of some files."""
        for oid in self.random.sample(self.oids, self.random.choice((1, 1, 1, 2, 3))):
            if (f := self.db.file(oid)) is not None:
                getattr(self, kind)(f)
        self.db.commit(kind)

    # ---- what a file is and may be ----

    def any_file(self):
        oid = self.random.choice(self.oids)
        return self.db.file(oid)

    def end(self, f):
        return f.blktab.maxKey() + 1 if f.blktab else 0

    def limit(self, f):
        return min(LARGEST // f.blksize, 300)

    def some(self, f, most):
        keys = list(f.blktab)
        return self.random.sample(keys, min(len(keys), self.random.randint(1, most)))

    def length(self, blksize):
        return self.random.choice((16, blksize // 3, blksize - 1, blksize, blksize))

    def new_block(self, blksize):
        length = self.length(blksize)
        return self.chunked(blksize, length) if self.random.random() < 0.4 else ZBlk0(self.db.cut(self.random, length))

    def chunked(self, blksize, length):
        """Returns a ZBlk1 with chunks of 4096 bytes, as they are, or of another size, as they may be."""
        blk = ZBlk1()
        size = self.random.choice((4096, 4096, 4096, 1000 + blksize // 64, 8192))
        data = self.db.cut(self.random, length)
        for start in range(0, length, size):
            end = min(length, start + size)
            if end - start >= 16 and self.random.random() < 0.95:
                blk.chunktab[start] = ZData(self.db.part(data, start, end))
        return blk

    # ---- changes of a file ----

    def write(self, f):
        for k in self.some(f, 6):
            blk, dice = f.blktab[k], self.random.random()
            if dice < 0.3:
                f.blktab[k] = self.new_block(f.blksize)
            elif isinstance(blk, ZBlk0):
                blk.data = self.db.cut(self.random, self.length(f.blksize))
            else:
                self.write_chunks(blk)

    def write_chunks(self, blk):
        for at in self.random.sample(list(blk.chunktab), min(len(blk.chunktab), 2)):
            chunk = blk.chunktab[at]
            if self.random.random() < 0.2:
                del blk.chunktab[at]
            elif len(chunk.data) >= 16:
                chunk.data = self.db.cut(self.random, len(chunk.data))
        blk._p_changed = True  # the format wants this record of whoever changes a chunk

    def append(self, f):
        end = self.end(f)
        for k in range(end, min(self.limit(f), end + self.random.randint(1, 8))):
            f.blktab[k] = self.new_block(f.blksize)

    def grow(self, f):
        end, limit = self.end(f), self.limit(f)
        if end < limit:
            f.blktab[self.random.randrange(end, limit)] = self.new_block(f.blksize)

    def zero(self, f):
        for k in self.some(f, 3):
            f.blktab[k] = ZBlk0(b"") if self.random.random() < 0.7 else ZBlk1()

    def hole(self, f):
        last = self.end(f) - 1
        for k in self.some(f, 5):
            if k != last:
                del f.blktab[k]

    def shrink(self, f):
        for k in list(f.blktab)[-self.random.randint(1, 20) :]:
            del f.blktab[k]

    def share(self, f):
        g = self.any_file()
        if g is not None and g.blksize == f.blksize and g.blktab:
            blk = g.blktab[self.random.choice(list(g.blktab))]
            k = self.random.randrange(max(1, self.end(f)))
            f.blktab[k] = blk

    def move(self, f):
        keys = self.some(f, 8)
        blocks = [f.blktab[k] for k in keys]
        self.random.shuffle(blocks)
        for k, blk in zip(keys, blocks):
            f.blktab[k] = blk

    def tree(self, f):
        items = list(f.blktab.items())
        if self.random.random() < 0.5:
            self.random.shuffle(items)  # other splits
        f.blktab = LOBTree()
        for k, blk in items:
            f.blktab[k] = blk

    def twin(self, f):
        g = self.any_file()
        if g is not None and g.blksize == f.blksize:
            f.blktab = g.blktab

    def kind(self, f):
        for k in self.some(f, 4):
            blk = f.blktab[k]
            if isinstance(blk, ZBlk0) and blk.data:
                new = ZBlk1()
                for at in range(0, len(blk.data), 4096):
                    part = self.db.part(blk.data, at, min(len(blk.data), at + 4096))
                    if len(part) < 16:
                        return
                    new.chunktab[at] = ZData(part)
                f.blktab[k] = new

    def same(self, f):
        f._p_changed = True
        for k in self.some(f, 3):
            f.blktab[k]._p_changed = True

    # ---- changes of everything ----

    def do_other(self, kind):
        self.db.root["other"] = self.random.random()
        self.db.commit(kind)

    def do_abort(self, kind):
        f = self.any_file()
        if f is not None:
            self.write(f)
            self.append(f)
        self.db.abort_voted()

    def do_undo(self, kind):
        self.undo(self.random.randint(1, 6))

    def do_redo(self, kind):
        """Undoes the last, which is an undo rather often."""
        self.undo(1)

    def undo(self, back):
        tids = self.db.undoable(back)
        if not tids or not self.db.undoing.get(tid_of(tids[-1]), set()) <= self.weights.keys():
            return
        try:
            self.db.undo(tids[-1])
        except UndoError:
            self.db.abort()

    def do_create(self, kind):
        if len(self.oids) < 10:
            f = self.db.create(None, self.random.choice(SIZES))
            self.append(f)
            self.db.commit(kind)
            self.oids.append(f._p_oid)

    def do_recreate(self, kind):
        if self.deleted:
            oid, blksize = self.deleted.popitem()
            if self.db.file(oid) is not None:
                return  # an undo was faster
            f = self.db.create(oid, blksize)
            self.append(f)
            self.db.commit("re-create")
            return
        f = self.any_file()
        if f is None:
            return
        name = "%x" % int.from_bytes(f._p_oid, "big")
        if name in self.db.root:
            del self.db.root[name]
            self.db.commit("unlink")
        self.deleted[f._p_oid] = f.blksize
        self.db.delete(f._p_oid)

    def do_resize(self, kind):
        f = self.any_file()
        if f is None:
            return
        f.blksize, f.blktab = self.random.choice(SIZES), LOBTree()
        self.append(f)
        self.db.commit(kind)

    def do_pack(self, kind):
        try:
            self.db.pack(self.db.tids[-self.random.choice((1, 1, 5, 50))] if len(self.db.tids) > 50 else self.db.tids[-1])
        except FileStorageError:
            pass  # nothing to pack

    def do_reopen(self, kind):
        self.db.close()
        self.db.open()
