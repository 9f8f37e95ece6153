"""A ZODB database, and the truth about it."""
import os
import random

import transaction
import ZODB
from persistent.timestamp import TimeStamp
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.POSException import POSKeyError
from ZODB.utils import z64

from wendelin.bigfile.file_zodb import ZBigFile

POOL = 16 << 20


class Database:
    def __init__(self, directory, seed):
        self.path = os.path.join(directory, "data.fs")
        self.pool = random.Random(seed).randbytes(POOL).replace(b"\0", b"\x5a")
        with open(os.path.join(directory, "pool"), "wb") as f:
            f.write(self.pool)
        self.truth = open(os.path.join(directory, "truth"), "wb", buffering=0)
        self.slices = {}  # the first bytes of each slice that is used -> its offset
        self.known = {}  # oid -> what was said of it
        self.tids = []
        self.undoing = {}  # tid -> what it would be to undo it, of "shrink", "recreate"
        self.open()
        self.publish()

    def open(self):
        self.db = ZODB.DB(FileStorage(self.path, pack_keep_old=False))
        self.conn = self.db.open()

    def close(self):
        self.conn.close()
        self.db.close()

    # ---- content ----

    def cut(self, rng, length):
        """Returns length bytes that are found nowhere else."""
        start = rng.randrange(POOL - length)
        self.note(start, length)
        return self.pool[start : start + length]

    def note(self, start, length):
        # Chunks are cut from slices at multiples of their size, which may be any.
        self.slices[self.pool[start : start + 16]] = start

    def part(self, data, start, end):
        """Returns data[start:end] of what cut has returned."""
        part = data[start:end]
        self.note(self.slices[data[:16]] + start, len(part))
        return part

    def segments(self, zblk):
        """Says where all bytes of a block come from, in short."""
        found = []
        for offset, holder in zblk.chunks():
            data = holder.data
            if not data:
                continue
            at = self.place(holder, data)
            if found and sum(found[-1][:2]) == offset and found[-1][1] + found[-1][2] == at:
                start, length, first = found.pop()
                found.append((start, length + len(data), first))
            else:
                found.append((offset, len(data), at))
        return tuple(found)

    def place(self, holder, data):
        known = getattr(holder, "_v_place", None)
        if known is None or known[0] is not data:
            at = self.slices[data[:16]]
            assert self.pool[at : at + len(data)] == data
            known = holder._v_place = (data, at)
        return known[1]

    # ---- transactions ----

    def begin(self):
        transaction.begin()

    def commit(self, note):
        """Commits what was changed, and says what it has left."""
        transaction.get().note(note)
        transaction.commit()
        self.publish()

    def abort(self):
        transaction.abort()

    def abort_voted(self):
        """Gives up what was changed when all of it is in the data file."""
        txn = transaction.get()
        self.conn.tpc_begin(txn)
        self.conn.commit(txn)
        self.conn.tpc_vote(txn)
        self.conn.tpc_abort(txn)
        transaction.abort()

    def undo(self, tid):
        self.db.undo(tid, transaction.get())
        self.commit("undo")

    def undoable(self, last):
        return [entry["id"] for entry in self.db.undoLog(0, last)]

    def delete(self, oid):
        """Deletes the object itself, as a garbage collector does."""
        storage, txn = self.db.storage, TransactionMetaData()
        serial = self.conn.get(oid)._p_serial
        storage.tpc_begin(txn)
        storage.deleteObject(oid, serial, txn)
        storage.tpc_vote(txn)
        storage.tpc_finish(txn)
        self.conn._resetCache()  # nobody has told it
        self.publish()

    def create(self, oid, blksize):
        """Returns a new file, with the id of one that was deleted unless oid is None."""
        f = ZBigFile(blksize)
        if oid is None:
            self.conn.add(f)
        else:
            f._p_jar, f._p_oid = self.conn, oid
            f._p_serial = self.last_serial(oid)
            if self.conn._cache.get(oid) is not None:  # a ghost, to which something that was read refers
                del self.conn._cache[oid]
            self.conn._cache[oid] = f
        f._p_changed = True
        self.link(f)
        return f

    def link(self, f):
        name = "%x" % int.from_bytes(f._p_oid, "big")
        if self.root.get(name) is not f:
            self.root[name] = f

    def last_serial(self, oid):
        """Returns the tid of the last record of an object, also if that deletes it."""
        pos = self.db.storage._index_get(oid, 0)
        return self.db.storage._read_data_header(pos, oid).tid if pos else z64

    def pack(self, tid):
        """Packs to the state of tid, or a later one, and loses no file: a pack removes
        what the root did not lead to then, and undo leaves such files."""
        before = self.db.lastTransaction()
        for oid in self.known:
            if (f := self.file(oid)) is not None:
                self.link(f)
        self.commit("link")
        last = self.db.lastTransaction()
        if last != before:
            tid = last
        self.say(b"P %s\n" % (tid.hex().encode()))
        try:
            self.db.pack(TimeStamp(tid).timeTime() + 1e-5 if tid != last else None)
        except KeyError:  # ZODB cannot pack to a time at which a reference led nowhere
            pass
        self.conn.cacheMinimize()

    @property
    def root(self):
        return self.conn.root()

    def file(self, oid):
        """Returns a file, or None if there is none."""
        try:
            f = self.conn.get(oid)
            f._p_activate()
            return f
        except POSKeyError:
            return None

    # ---- truth ----

    def say(self, text):
        self.truth.write(text)

    def publish(self):
        """Says what the last transaction has changed."""
        transaction.begin()
        tid = self.db.lastTransaction()
        if self.tids and self.tids[-1] == tid:
            return  # nothing was changed
        for name, f in self.root.items():
            if isinstance(f, ZBigFile):
                self.known.setdefault(f._p_oid, Known())
        lines = ["T " + tid.hex()]
        for oid, known in self.known.items():
            was = known.state
            lines += known.change(oid.hex(), *self.look(oid))
            self.undoing.setdefault(tid, set()).update(opposite(was, known.state))
        lines.append(". %s\n" % tid.hex())
        self.tids.append(tid)
        self.say("\n".join(lines).encode())

    def look(self, oid):
        """Returns (blksize, blocks, {block: segments}) of a file; blksize None if there
        is none, -1 if it cannot be told."""
        f = self.file(oid)
        if f is None:
            return None, 0, {}
        try:
            tab = dict(f.blktab.items())
            blocks = f.blktab.maxKey() + 1 if tab else 0
            return f.blksize, blocks, {blk: self.look_block(f, zblk) for blk, zblk in tab.items()}
        except POSKeyError:
            return -1, 0, {}

    def look_block(self, f, zblk):
        try:
            segments = self.segments(zblk)
        except POSKeyError:
            return None
        too_long = segments and sum(segments[-1][:2]) > f.blksize
        return None if too_long else segments


def opposite(was, now):
    """Says what it would be to go back from one state of a file to the one before."""
    if was is None or was[0] != now[0]:
        return {"recreate"}
    return {"shrink"} if was[1] < now[1] else set()


class Known:
    """What was said of a file."""

    def __init__(self):
        self.state = None  # blksize, blocks
        self.epoch = 0
        self.blocks = {}

    def change(self, oid, blksize, blocks, content):
        """Returns the lines to be said when the file is so now, and remembers them."""
        was, self.state = self.state, (blksize, blocks)
        if self.state != was:
            if was is None or was[0] != blksize:
                self.epoch += 1
            if blksize is None:
                yield f"G {oid}"
            elif blksize < 0:
                yield f"X {oid}"
            else:
                yield f"F {oid} {self.epoch} {blksize} {blocks}"
        if blksize is None or blksize < 0:
            return
        for blk in sorted(self.blocks.keys() | content.keys()):
            now = content.get(blk, ())
            if self.blocks.get(blk, ()) != now:
                segments = "!" if now is None else " ".join("%d,%d,%d" % s for s in now)
                yield f"B {oid} {blk} {segments}".rstrip()
        self.blocks = content
