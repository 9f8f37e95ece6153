"""Arrays over memory of a view."""
from __future__ import annotations

import threading
import weakref
from typing import Any

import numpy as np

from ._catalog import Entry


class Source:
    """The view that the memory of an array is of: enough to find the same bytes again."""

    def __init__(self, database: str, point: str, name: str, oid: str, memory: Any) -> None:
        self.database, self.point, self.name, self.oid = database, point, name, oid
        self.memory = memory  # has address, size, at

    def offset(self, array: np.ndarray[Any, Any]) -> int | None:
        """Returns where the first item of an array is in memory, None if not all of it is."""
        start = array.__array_interface__["data"][0] - self.memory.address
        low = high = 0
        for n, stride in zip(array.shape, array.strides):
            if n == 0:
                return None
            low, high = low + min(0, (n - 1) * stride), high + max(0, (n - 1) * stride)
        inside = 0 <= start + low and start + high + array.itemsize <= self.memory.size
        return start if inside else None


class Array(np.ndarray):
    """A read-only array of a snapshot. It keeps its memory alive.

    It pickles as a reference to the database, the transaction, the name and the part of
    the array: no data is copied to another process of the host, which maps the same. The
    results of computing are plain arrays.
    """

    _source: Source | None

    def __array_finalize__(self, obj: Any) -> None:
        self._source = getattr(obj, "_source", None)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        if array is self:
            return array
        return array[()] if array.shape == () else np.asarray(array)

    def _reference(self) -> tuple[Any, ...] | None:
        offset = self._source.offset(self) if self._source is not None else None
        if self._source is None or offset is None:
            return None
        s = self._source
        return (s.database, s.point, s.memory.at, s.name, s.oid, s.memory.size, self.dtype, self.shape, self.strides, offset)

    def __reduce_ex__(self, protocol: Any) -> Any:
        reference = self._reference()
        if reference is None:
            return np.asarray(self).__reduce_ex__(protocol)
        return restore, reference

    def __dask_tokenize__(self) -> Any:
        from dask.base import normalize_token

        reference = self._reference()
        if reference is None:
            return normalize_token(np.asarray(self))
        return ("wcfs", *map(str, reference))


def make(source: Source, dtype: Any, shape: tuple[int, ...], strides: tuple[int, ...] | None, offset: int, order: Any = "C") -> Array:
    """Returns an array over the memory of a source."""
    memory = np.asarray(source.memory)
    array: Array = np.ndarray.__new__(Array, shape, dtype, memory, offset, strides, order)
    array._source = source
    return array


def nothing(entry: Entry) -> Array:
    """Returns an array that has no bytes."""
    array = np.empty(entry.shape, entry.dtype, order="F" if entry.order == "F" else "C").view(Array)
    array.flags.writeable = False
    return array


_lock = threading.Lock()
_databases: dict[str, Any] = {}  # those that arrays which were unpickled are of
_memories: weakref.WeakValueDictionary[tuple[str, str, str, int], Any] = weakref.WeakValueDictionary()


def restore(database: str, point: str, at: str, name: str, oid: str, size: int, dtype: Any, shape: Any, strides: Any, offset: int) -> Array:
    """Returns the array that was pickled, over a map of the past."""
    from ._database import open_pickled
    from ._memory import PastMemory

    with _lock:
        db = _databases.get(database)
        if db is None or not db.alive():
            db = _databases[database] = open_pickled(database, point)
        key = (db.mountpoint, at, oid, size)
        memory = _memories.get(key)
        if memory is None:
            memory = _memories[key] = PastMemory(db.joined(), at, oid, size)
    return make(Source(database, db.mountpoint, name, oid, memory), dtype, shape, strides, offset)
