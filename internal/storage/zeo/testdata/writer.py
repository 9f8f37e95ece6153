"""Commits to a ZEO server what it is told, as any application does.

    writer.py SOCKET

takes a line of JSON for each transaction, and answers with one.
"""
import base64
import json
import sys

from ZEO.ClientStorage import ClientStorage
from ZODB.Connection import TransactionMetaData
from ZODB.utils import p64, u64, z64


class Writer:
    def __init__(self, address):
        self.storage = ClientStorage(address, wait_timeout=60)
        self.serials = {}  # of each object

    def commit(self, cmd):
        """Objects are stored, deleted (data is null), restored or, all at once, undone."""
        meta = TransactionMetaData(bytes_of(cmd, "user"), bytes_of(cmd, "description"), bytes_of(cmd, "extension"))
        tid = p64(int(cmd["tid"], 16)) if cmd.get("tid") else None
        self.storage.tpc_begin(meta, tid)
        try:
            oids = [self.record(r, tid, meta) for r in cmd.get("records") or []]
            if cmd.get("undo"):
                undone = base64.encodebytes(p64(int(cmd["undo"], 16))).rstrip()
                self.storage.undo(undone, meta)
            self.storage.tpc_vote(meta)
            tid = self.storage.tpc_finish(meta)
        except Exception:
            self.storage.tpc_abort(meta)
            raise
        if cmd.get("undo"):
            oids = [oid for oid in self.serials if self.storage.getTid(oid) == tid]
        self.serials.update((oid, tid) for oid in oids)
        return "%016x" % u64(tid)

    def record(self, r, tid, meta):
        oid = p64(int(r["oid"], 16))
        if r.get("restore"):
            self.storage.restore(oid, tid, bytes_of(r, "data"), "", None, meta)
        elif r.get("data") is None and oid in self.serials:
            self.storage.deleteObject(oid, self.serials[oid], meta)
        else:
            self.storage.store(oid, self.serials.get(oid, z64), bytes_of(r, "data"), "", meta)
        return oid

    def pack(self, cmd):
        from ZODB.serialize import referencesf
        self.storage.pack(None, referencesf)


def bytes_of(cmd, name):
    return base64.b64decode(cmd.get(name) or "")


def main():
    writer = Writer(sys.argv[1])
    for line in sys.stdin:
        cmd = json.loads(line)
        try:
            answer = {"tid": getattr(writer, cmd["do"])(cmd)}
        except Exception as e:
            answer = {"error": "%s: %s" % (type(e).__name__, e)}
        print(json.dumps(answer), flush=True)
    writer.storage.close()


if __name__ == "__main__":
    main()
