"""Commits what it is told, as any application does.

A line of JSON for each transaction is answered with one. Writer.work says where to
commit to: a ZEO server, a file, or what a configuration of ZODB says.
"""
import base64
import json
import time

import ZODB.config
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.serialize import referencesf
from ZODB.utils import p64, u64, z64


class Writer:
    storage = None

    def __init__(self):
        self.serials = {}  # of each object

    def work(self, cmd):
        """Goes on with another storage, or with nothing."""
        if self.storage is not None:
            self.storage.close()
            self.storage = None
        if cmd.get("server"):
            from ZEO.ClientStorage import ClientStorage
            self.storage = ClientStorage(cmd["server"], storage=cmd["storage"], wait_timeout=60)
            # The table of old revisions cannot hold oids from 2**63 on.
            self.storage._cache.noncurrent = {}
        elif cmd.get("file"):
            self.storage = FileStorage(cmd["file"])
        elif cmd.get("config"):
            self.storage = ZODB.config.storageFromString(cmd["config"])

    def commit(self, cmd):
        """Objects are stored, deleted (data is null), restored or, all at once, undone."""
        meta = TransactionMetaData(bytes_of(cmd, "user"), bytes_of(cmd, "description"), bytes_of(cmd, "extension"))
        tid = id_of(cmd, "tid")
        if hasattr(self.storage, "poll_invalidations"):
            self.storage.poll_invalidations()  # as a Connection does when a transaction begins
        self.storage.tpc_begin(meta, tid)
        try:
            oids = [self.record(r, tid, meta) for r in cmd.get("records") or []]
            if cmd.get("undo"):
                undone = base64.encodebytes(id_of(cmd, "undo")).rstrip()
                self.storage.undo(undone, meta)
            self.storage.tpc_vote(meta)
            tid = self.storage.tpc_finish(meta)
        except Exception:
            self.storage.tpc_abort(meta)
            raise
        if cmd.get("undo"):
            oids = [p64(int(oid, 16)) for oid in cmd.get("undone") or []]
        self.serials.update((oid, tid) for oid in oids)
        return "%016x" % u64(tid)

    def record(self, r, tid, meta):
        oid, deleted = p64(int(r["oid"], 16)), r.get("data") is None
        if r.get("restore"):
            data = None if deleted else bytes_of(r, "data")
            self.storage.restore(oid, tid, data, "", id_of(r, "sameas"), meta)
        elif deleted and oid in self.serials:
            self.storage.deleteObject(oid, self.serials[oid], meta)
        else:
            known = self.serials.get(oid) or id_of(r, "serial") or z64
            self.storage.store(oid, known, bytes_of(r, "data"), "", meta)
        return oid

    def pack(self, cmd):
        if isinstance(self.storage, FileStorage):
            self.storage.pack(time.time(), referencesf, gc=False)
        else:
            self.storage.pack(time.time(), referencesf)


def bytes_of(cmd, name):
    return base64.b64decode(cmd.get(name) or "")


def id_of(cmd, name):
    return p64(int(cmd[name], 16)) if cmd.get(name) else None


def serve(lines, out):
    writer = Writer()
    for line in lines:
        cmd = json.loads(line)
        try:
            answer = {"tid": getattr(writer, cmd["do"])(cmd)}
        except Exception as e:
            answer = {"error": "%s: %s" % (type(e).__name__, e)}
        print(json.dumps(answer), file=out, flush=True)
    writer.work({})
