"""Makes a DemoStorage over two FileStorages, commits to it at random, and says what it shows.

    demo.py DIRECTORY SEED

writes DIRECTORY/base.fs and DIRECTORY/delta.fs. For each line "commit" of its standard input
it commits to the delta, and answers with a tid. For "tell" it answers with all it has shown:
a line of JSON for each object with a list of [view, serial, data, why]: what loadBefore has
returned for just after the view, or the name of its error; then an empty line.
"""
import base64
import json
import logging
import os
import random
import sys

from ZODB.Connection import TransactionMetaData
from ZODB.DemoStorage import DemoStorage
from ZODB.FileStorage import FileStorage
from ZODB.POSException import POSKeyError, UndoError
from ZODB.utils import load_current, p64, u64, z64


class Writer:
    def __init__(self, storage, files, rnd):
        """storage is what is committed to, files the FileStorage that it writes."""
        self.storage, self.files, self.random = storage, files, rnd
        self.tids = []  # of transactions that can be undone

    def commit(self):
        if self.tids and self.random.random() < 0.3 and self.undo():
            return self.tids[-1]
        return self.transaction(self.change)

    def transaction(self, change):
        meta = TransactionMetaData(b"user", b"text")
        self.storage.tpc_begin(meta)
        try:
            change(meta)
            self.storage.tpc_vote(meta)
            self.tids.append(self.storage.tpc_finish(meta))
        except BaseException:
            self.storage.tpc_abort(meta)
            raise
        return self.tids[-1]

    def change(self, meta):
        for n in self.random.sample(range(30), self.random.randrange(5)):
            oid = p64(n)
            data = self.random.randbytes(self.random.randrange(1, 200))
            if self.deleted(oid):
                # DemoStorage itself cannot change such an object any more.
                self.files.store(oid, self.last(oid), data, "", meta)
            elif self.random.random() < 0.2 and oid in self.files._index:
                self.files.deleteObject(oid, self.last(oid), meta)
            else:
                self.storage.store(oid, self.serial(oid), data, "", meta)

    def serial(self, oid):
        try:
            return load_current(self.storage, oid)[1]
        except POSKeyError:
            return z64

    def last(self, oid):
        """Returns the tid of the last record, also if that is a deletion."""
        return self.files._read_data_header(self.files._index[oid], oid).tid

    def deleted(self, oid):
        try:
            load_current(self.files, oid)
        except POSKeyError:
            return oid in self.files._index
        return False

    def undo(self):
        """Undoes any transaction, if that is possible."""
        which = base64.encodebytes(self.random.choice(self.tids)).rstrip()
        try:
            self.transaction(lambda meta: self.storage.undo(which, meta))
        except (UndoError, ValueError):
            # ValueError: a conflict, whose text ZODB wants to make of a pickle, which the
            # records here are not (POSException.ConflictError).
            return False
        return True


class Shown:
    """What a storage shows as of views, found when each view was the newest one.

    Asked later, DemoStorage denies that the base has had an object that the delta has
    deleted since."""

    def __init__(self, storage):
        self.storage, self.seen = storage, {n: [] for n in range(32)}
        for txn in storage.iterator():
            self.look(u64(txn.tid) - 1)
            self.look(u64(txn.tid))

    def look(self, view):
        for n, seen in self.seen.items():
            data = serial = why = None
            try:
                found = self.storage.loadBefore(p64(n), p64(view + 1))
                if found is None:
                    why = "None"
                else:
                    data, serial = base64.b64encode(found[0]).decode(), "%016x" % u64(found[1])
            except POSKeyError as e:
                why = type(e).__name__
            seen.append(["%016x" % view, serial, data, why])

    def tell(self):
        for n, seen in self.seen.items():
            print(json.dumps({"oid": "%016x" % n, "seen": seen}))
        print(flush=True)


def main():
    directory, rnd = sys.argv[1], random.Random(int(sys.argv[2]))
    logging.disable()  # what cannot be undone
    base = FileStorage(directory + "/base.fs")
    writer = Writer(base, base, rnd)
    for _ in range(rnd.randrange(40)):
        writer.commit()
    base.close()
    os.remove(directory + "/base.fs.index")  # ZODB reads before the beginning of a short file to check it
    base, delta = FileStorage(directory + "/base.fs", read_only=True), FileStorage(directory + "/delta.fs")
    demo = DemoStorage(base=base, changes=delta)
    shown, writer = Shown(demo), Writer(demo, delta, rnd)
    print("ready", flush=True)
    for line in sys.stdin:
        if line == "commit\n":
            tid = u64(writer.commit())
            shown.look(tid)
            print("%016x" % tid, flush=True)
        else:
            shown.tell()
    demo.close()


if __name__ == "__main__":
    main()
