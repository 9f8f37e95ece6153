"""An application that has a database of a ZEO server.

    zeoclient.py SOCKET

takes commands, a line each, and answers with a line each. It knows the classes of
wendelin.core by their state only.
"""
import shlex
import sys
import time
import types

import transaction
from persistent import Persistent
from persistent.mapping import PersistentMapping
from ZEO.ClientStorage import ClientStorage
from ZODB.Connection import TransactionMetaData
from ZODB.DB import DB
from ZODB.utils import z64


class Plain(Persistent):
    """Keeps its state as it is."""

    def __setstate__(self, state):
        self.state = state


class dtype:
    """Is written as it was read."""

    __module__ = "numpy"

    def __init__(self, *args):
        self.args = args

    def __setstate__(self, state):
        self.state = state

    def __reduce__(self):
        return dtype, self.args, self.state


def make_module(name, **content):
    module = types.ModuleType(name)
    module.__dict__.update(content)
    sys.modules[name] = module


def make_class(module, name):
    return type(name, (Plain,), {"__module__": module})


for package in "wendelin", "wendelin.bigfile", "wendelin.bigarray", "wendelin.lib":
    make_module(package)
for module, names in {
    "wendelin.bigfile.file_zodb": ["ZBigFile", "ZBlk0", "ZBlk1", "ZData"],
    "wendelin.bigarray.array_zodb": ["ZBigArray"],
}.items():
    make_module(module, **{name: make_class(module, name) for name in names})
make_module("numpy", dtype=dtype)


def block(zblk):
    if not isinstance(zblk.state, Persistent):
        return zblk.state
    data = bytearray()
    for offset, chunk in zblk.state.items():
        chunk._p_activate()
        data[offset:offset] = bytes(max(0, offset - len(data)))
        data[offset:] = chunk.state
    return bytes(data)


class Application:
    def __init__(self, address):
        self.storage = ClientStorage(address, wait_timeout=60)
        self.db = DB(self.storage)
        self.conn = self.db.open()

    def names(self):
        return " ".join(sorted(self.root().keys()))

    def root(self):
        transaction.abort()
        last = self.storage._call("lastTransaction")
        while self.storage.lastTransaction() < last:  # it is told by and by
            time.sleep(0.001)
        self.conn.sync()
        return self.conn.root()

    def find(self, path):
        obj = self.root()
        for name in path.split("/"):
            obj = obj[name]
        return obj

    def read(self, path, out):
        """Writes the data of an array to a file."""
        array = self.find(path)
        array._p_activate()
        state = {}
        for part in array.state if isinstance(array.state, tuple) else [array.state]:
            state.update(part or {})
        zfile = state["zfile"]
        zfile._p_activate()
        blksize, table = zfile.state
        with open(out, "wb") as f:
            for number, zblk in table.items():
                zblk._p_activate()
                f.seek(number * blksize)
                f.write(block(zblk))
        return "done"

    def set(self, path):
        """Makes a mapping."""
        folder, _, name = path.rpartition("/")
        (self.find(folder) if folder else self.root())[name] = PersistentMapping()
        transaction.commit()
        return self.tid()

    def touch(self, path):
        """Changes an object without changing it."""
        obj = self.find(path)
        obj._p_activate()
        state = obj.state
        type(obj).__getstate__ = lambda self: self.state
        obj._p_changed = True
        assert obj.state is state
        transaction.commit()
        return self.tid()

    def tid(self):
        return self.storage.lastTransaction().hex()

    def hold(self):
        """Votes, so that nobody else can commit."""
        self.meta = TransactionMetaData(b"", b"held", b"")
        self.storage.tpc_begin(self.meta)
        self.storage.store(self.storage.new_oid(), z64, b"\x80\x03cpersistent\nPersistent\n.N.", "", self.meta)
        self.storage.tpc_vote(self.meta)
        return "held"

    def release(self):
        self.storage.tpc_finish(self.meta)
        return "released"


def main():
    application = Application(sys.argv[1])
    print("open", flush=True)
    for line in sys.stdin:
        command, *args = shlex.split(line)
        print(getattr(application, command)(*args), flush=True)
    application.db.close()


if __name__ == "__main__":
    main()
