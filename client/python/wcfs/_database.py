"""Databases, and snapshots of them."""
from __future__ import annotations

import datetime
import json
import os
import re
import threading
import time
import weakref
from collections import OrderedDict
from typing import Any, Iterator, Union

import numpy as np

from . import _array, _lib, _mount, errors
from ._array import Array, Source
from ._catalog import Catalog, Entry
from ._memory import PastMemory

View = Union[str, int, bytes, datetime.datetime, None]

_CATALOGS = 16  # how many views' arrays are remembered
_BEFORE = "0" * 15 + "1"  # a view in which there is nothing


def _is_tid(text: str) -> bool:
    return re.fullmatch("[0-9a-f]{16}", text) is not None


def _view(at: View) -> str:
    """Returns a view as commands of wcfs take it.

    >>> _view(0x3f6df7fffffffb8), _view(b"\\0" * 7 + b"\\1"), _view("-1d")
    ('03f6df7fffffffb8', '0000000000000001', '-1d')
    >>> _view(datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc))
    '2024-02-29T12:00:00Z'
    """
    if isinstance(at, int):
        return f"{at:016x}"
    if isinstance(at, bytes):
        return at.hex()
    if isinstance(at, datetime.datetime):
        return at.astimezone(datetime.timezone.utc).isoformat().replace("+00:00", "Z")
    assert at is not None
    return at[1:] if at.startswith("@") else at


class Database:
    """A database that is mounted. Take one with `wcfs.open`."""

    def __init__(self, joined: _mount.Joined, timeout: float | None) -> None:
        self._joined: _mount.Joined | None = joined
        self._timeout = timeout
        self._lock = threading.Lock()
        self._mount: _lib.Mount | None = None
        self._catalogs: OrderedDict[str, Catalog] = OrderedDict()
        self._pid = os.getpid()
        self.mountpoint = joined.point
        self.zurl = joined.zurl
        self._shown = _mount.shown(joined.zurl)

    def __repr__(self) -> str:
        return f"<wcfs.Database {self._shown} on {self.mountpoint}>"

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Tells the server that it is not used any more. Arrays in use stay as they are."""
        joined, self._joined, self._mount = self._joined, None, None
        if joined is not None:
            joined.close()

    def joined(self) -> _mount.Joined:
        """Returns the mount."""
        if self._joined is None:
            raise errors.ClosedError("the database was closed")
        return self._joined

    def alive(self) -> bool:
        """Tells whether its server answers."""
        try:
            return self.head != ""
        except errors.Error:
            return False

    @property
    def head(self) -> str:
        """The newest view: the id of the last transaction, 16 hexadecimal digits."""
        try:
            fd = self.joined().open("head/at")
            try:
                return os.pread(fd, 64, 0).decode().strip()
            finally:
                os.close(fd)
        except OSError as err:
            raise _mount.failed(f"read {self.mountpoint}/head/at", err) from err

    def snapshot(self, at: View = None) -> Snapshot:
        """Returns a snapshot: the newest state, or one of the past.

        A view of the past is a transaction (16 hexadecimal digits, an int, or bytes as in
        ZODB), a time (`datetime`, or text such as "2024-02-29T12:00:00Z"), or a time ago
        ("-5m", "-1d").
        """
        if at is None:
            return self._live(self.head)
        tid = self._tid(at)
        try:
            self.joined().stat("@" + tid)
        except OSError as err:
            raise _mount.failed(f"look at {self.mountpoint}/@{tid}", err) from err
        return Snapshot(self, tid, None)

    def _live(self, at: str) -> Snapshot:
        if os.getpid() != self._pid:
            raise errors.ForkedError("the database was opened by the parent process; open it here, or take a view of the past")
        with self._lock:
            if self._mount is None:
                self._mount = _lib.Mount(self.mountpoint, self._timeout)
            mount = self._mount
        return Snapshot(self, at, mount.connect(int(at, 16)))

    def _tid(self, at: View) -> str:
        """Returns the transaction that a view is of."""
        view = _view(at)
        if _is_tid(view):
            return view
        lines = _mount.run(["log", "--json", "--number=1", "--until=" + view, "--", self._shown], zurl=self.zurl)
        newest: str = json.loads(lines)["tid"] if lines.strip() else _BEFORE
        return min(newest, self.head)

    def _catalog(self, tid: str) -> Catalog:
        with self._lock:
            catalog = self._catalogs.get(tid)
            if catalog is None:
                catalog = self._catalogs[tid] = Catalog(self.joined(), tid)
            self._catalogs.move_to_end(tid)
            while len(self._catalogs) > _CATALOGS:
                self._catalogs.popitem(last=False)
        return catalog

    def follow(self, name: str, *, since: View = None, interval: float = 0.05) -> Iterator[Snapshot]:
        """Yields a snapshot after each commit that changed an array.

        Its attribute `changed` has the ranges of indices that may have changed since the
        one before, or since a view, as (start, stop): of the first axis, and of the last
        one if the array is in Fortran order. Commits that are faster than the loop are
        told together.
        """
        before = self.head if since is None else self._tid(since)
        while True:
            head = self.head
            if head > before:
                changed = self._changes(name, before, head)
                before = head
                if changed:
                    snapshot = self._live(head)
                    snapshot.changed = changed
                    yield snapshot
            else:
                time.sleep(interval)

    def _changes(self, name: str, old: str, new: str) -> list[tuple[int, int]]:
        """Returns the ranges of indices that differ between two views."""
        entry = self._catalog(new).find(name)
        if entry is None:
            return []
        document = _mount.run_json(["diff", "--json", "--", self._shown, name, "@" + old, "@" + new], zurl=self.zurl)
        n = entry.shape[-1 if entry.order == "F" else 0] if entry.shape else 1
        size = entry.dtype.itemsize * int(np.prod(entry.shape, dtype=object))
        ranges: list[tuple[int, int]] = []
        for blocks in document.get("blocks") or []:
            if size == 0 or blocks["offset"] >= size:
                continue
            start = blocks["offset"] * n // size
            stop = min(n, -(-(blocks["offset"] + blocks["length"]) * n // size))
            if ranges and start <= ranges[-1][1]:
                start = ranges.pop()[0]
            ranges.append((start, stop))
        return ranges

    def import_(self, name: str, array: Any, *, replace: bool = False, message: str | None = None) -> str:
        """Writes an array into the database by a name, and returns the transaction.

        It runs `wcfs import`. Secrets of the url stand in no command line.
        """
        return self._write(name, array, (["--replace"] if replace else []) + ([] if message is None else ["--message", message]))

    def append(self, name: str, rows: Any, *, message: str | None = None) -> str:
        """Adds rows to an array, and returns the transaction."""
        return self._write(name, rows, ["--append"] + ([] if message is None else ["--message", message]))

    def _write(self, name: str, array: Any, options: list[str]) -> str:
        data = np.asanyarray(array)

        def feed(write: Any) -> None:
            # A file would be asked for its position, which a pipe has not.
            np.lib.format.write_array(type("Pipe", (), {"write": staticmethod(write)})(), np.asarray(data), allow_pickle=False)

        document = _mount.run_json(["import", "--json", *options, "--", "-", self._shown, name], zurl=self.zurl, feed=feed)
        tid: str = (document[0] if isinstance(document, list) else document)["tid"]
        limit = None if self._timeout is None else time.monotonic() + self._timeout
        while self.head < tid:
            if limit is not None and time.monotonic() > limit:
                raise errors.TimeoutError(f"{self.mountpoint}: the server does not show @{tid} in time")
            time.sleep(0.001)
        return tid


class Snapshot:
    """The arrays of a database as of one transaction, whatever others commit.

    That of the newest state (live) shares the memory of all of its readers, and can be
    moved. One of the past stays where it is, and works in children of fork, too.
    """

    changed: list[tuple[int, int]]

    def __init__(self, db: Database, at: str, conn: _lib.Conn | None) -> None:
        self._db, self._at, self._conn = db, at, conn
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._closed = False
        self._memories: weakref.WeakValueDictionary[tuple[str, int], Any] = weakref.WeakValueDictionary()
        self.changed = []

    def __repr__(self) -> str:
        return f"<wcfs.Snapshot @{self._at} of {self._db._shown}>"

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    @property
    def at(self) -> str:
        """The transaction that it is of: 16 hexadecimal digits."""
        return self._at

    @property
    def database(self) -> Database:
        return self._db

    def names(self) -> list[str]:
        """Returns the names of all arrays, and of files that are not just those of arrays."""
        return self._db._catalog(self._at).names()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._db._catalog(self._at).find(name) is not None

    def __getitem__(self, name: str) -> Array:
        """Returns an array, without a copy. It is read-only, and keeps its memory alive."""
        entry = self._db._catalog(self._at).find(name)
        if entry is None:
            raise errors.NoArrayError(f"there is no array {name!r} in {self._db._shown} @{self._at}; names() lists them")
        dtype = entry.dtype
        size = dtype.itemsize * int(np.prod(entry.shape, dtype=object))
        if size == 0:
            return _array.nothing(entry)
        with self._lock:
            self._check()
            memory = self._memories.get((entry.oid, size))
            if memory is None:
                memory = self._memories[entry.oid, size] = self._map(entry, size)
        source = Source(self._db.zurl, self._db.mountpoint, name, entry.oid, memory)
        return _array.make(source, dtype, entry.shape, None, 0, entry.order)

    def _check(self) -> None:
        if self._closed:
            raise errors.ClosedError("the snapshot was closed")
        if self._conn is not None and os.getpid() != self._pid:
            raise errors.ForkedError("the snapshot is of the parent process; take one in this process, or pickle the array")

    def _map(self, entry: Entry, size: int) -> Any:
        if self._conn is None:
            return PastMemory(self._db.joined(), self._at, entry.oid, size)
        file = self._conn.open(int(entry.oid, 16))
        if file.blksize % os.sysconf("SC_PAGESIZE"):
            return PastMemory(self._db.joined(), self._at, entry.oid, size)  # the same, but for sharing
        return file.map(0, -(-size // file.blksize))

    def refresh(self, at: View = None, *, move: bool = False) -> Snapshot:
        """Moves the snapshot to the newest state, or to another one that is not older.

        It is refused while there are arrays of it, whose content would change: delete them
        before. With move they stay, with the size that they have, and show the new state.
        """
        with self._lock:
            self._check()
            if self._conn is None:
                raise errors.GoingBackError("a snapshot of the past does not move; take another one")
            if len(self._memories) > 0 and not move:
                raise errors.InUseError(f"{len(self._memories)} arrays of the snapshot are in use, and would change: delete them before, or say move=True")
            tid = self._db.head if at is None else self._db._tid(at)
            if tid < self._at:
                raise errors.GoingBackError(f"@{tid} is older than @{self._at}; take another snapshot")
            self._conn.resync(int(tid, 16))
            self._at = tid
        return self

    def close(self) -> None:
        """Gives the snapshot back. Arrays that are in use stay as they are."""
        self._closed = True
        with self._lock:
            self._conn = None


def open(database: str | os.PathLike[str], *, start: bool = True, timeout: float | None = 120) -> Database:
    """Opens a database: a path, a url, or the directory where it is mounted.

    If no server serves it one is started (`wcfs mount --autoexit`), unless start is False:
    then `NotRunningError` is raised. It ends some time after its last client. timeout is how
    many seconds the server may take to answer; None for any time.
    """
    return Database(_mount.join(os.fspath(database), start), timeout)


def open_pickled(zurl: str, point: str) -> Database:
    """Opens the database of an array that was pickled, where it was if that is still so."""
    try:
        joined = _mount.Joined(point)
        if joined.zurl == zurl:
            return Database(joined, 120)
    except errors.Error:
        pass
    return open(zurl)
