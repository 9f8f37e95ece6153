"""libwcfs, as wcfs.h describes it, by ctypes. All calls give up the GIL.

The thread of a connection, that answers the server, never takes the GIL: a thread that
holds it may be the one that waits for the answer.
"""
from __future__ import annotations

import ctypes
import os
import threading
from ctypes import POINTER, byref, c_char, c_char_p, c_int, c_int64, c_uint64, c_void_p
from typing import Any, NoReturn

from . import errors

HEAD = (1 << 64) - 1


class _Error(ctypes.Structure):
    _fields_ = [("code", c_int), ("errnum", c_int), ("text", c_char * 504)]


class _Options(ctypes.Structure):
    _fields_ = [("no_start", c_int), ("timeout_ms", c_int), ("program", c_char_p)]


_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "wcfs_join": (c_int, [c_char_p, POINTER(_Options), POINTER(c_void_p), POINTER(_Error)]),
    "wcfs_leave": (None, [c_void_p]),
    "wcfs_connect": (c_int, [c_void_p, c_uint64, POINTER(c_void_p), POINTER(_Error)]),
    "wcfs_at": (c_uint64, [c_void_p]),
    "wcfs_resync": (c_int, [c_void_p, c_uint64, POINTER(_Error)]),
    "wcfs_close": (c_int, [c_void_p, POINTER(_Error)]),
    "wcfs_open": (c_int, [c_void_p, c_uint64, POINTER(c_void_p), POINTER(_Error)]),
    "wcfs_blksize": (c_int64, [c_void_p]),
    "wcfs_map": (c_int, [c_void_p, c_int64, c_int64, POINTER(c_void_p), POINTER(_Error)]),
    "wcfs_unmap": (c_int, [c_void_p, c_void_p, POINTER(_Error)]),
    "wcfs_file_close": (c_int, [c_void_p, POINTER(_Error)]),
}

_loading = threading.Lock()
_loaded: ctypes.CDLL | None = None


def library() -> ctypes.CDLL:
    """Loads the library: $WCFS_LIBRARY, that of the package, or that of the system."""
    global _loaded
    with _loading:
        if _loaded is None:
            own = os.path.join(os.path.dirname(__file__), "libwcfs.so")
            path = os.environ.get("WCFS_LIBRARY") or (own if os.path.exists(own) else "libwcfs.so.0")
            lib = ctypes.CDLL(path)
            for name, (result, arguments) in _SIGNATURES.items():
                function = getattr(lib, name)
                function.restype, function.argtypes = result, arguments
            _loaded = lib
        return _loaded


def _fail(err: _Error) -> NoReturn:
    raise errors.of_code(err.code)(err.text.decode(errors="replace"))


class Mount:
    """A mount that was joined."""

    def __init__(self, point: str, timeout: float | None) -> None:
        joined, err = c_void_p(), _Error()
        options = _Options(1, -1 if timeout is None else max(1, int(timeout * 1000)), None)
        self._lib = library()
        if self._lib.wcfs_join(os.fsencode(point), byref(options), byref(joined), byref(err)):
            _fail(err)
        self._handle = joined.value

    def connect(self, at: int) -> Conn:
        conn, err = c_void_p(), _Error()
        if self._lib.wcfs_connect(self._handle, at, byref(conn), byref(err)):
            _fail(err)
        return Conn(self._lib, conn.value)

    def __del__(self) -> None:
        handle, self._handle = getattr(self, "_handle", None), None
        if handle:
            self._lib.wcfs_leave(handle)


class Conn:
    """A connection at a view, which ends when nobody refers to it or its files."""

    def __init__(self, lib: ctypes.CDLL, handle: int | None) -> None:
        self._lib, self._handle = lib, handle
        self._closing = threading.Lock()

    @property
    def at(self) -> int:
        return int(self._lib.wcfs_at(self._live()))

    def _live(self) -> int:
        if not self._handle:
            raise errors.ClosedError("connection closed")
        return self._handle

    def resync(self, at: int) -> None:
        err = _Error()
        if self._lib.wcfs_resync(self._live(), at, byref(err)):
            _fail(err)

    def open(self, oid: int) -> File:
        opened, err = c_void_p(), _Error()
        if self._lib.wcfs_open(self._live(), oid, byref(opened), byref(err)):
            _fail(err)
        return File(self, opened.value)

    def close(self) -> None:
        """Ends it: what is mapped faults."""
        with self._closing:
            handle, self._handle = self._handle, None
        err = _Error()
        if handle and self._lib.wcfs_close(handle, byref(err)):
            _fail(err)

    def __del__(self) -> None:
        handle, self._handle = getattr(self, "_handle", None), None
        if handle:
            self._lib.wcfs_close(handle, None)


class File:
    """A file of a connection."""

    def __init__(self, conn: Conn, handle: int | None) -> None:
        self.conn, self._lib, self._handle = conn, conn._lib, handle

    @property
    def blksize(self) -> int:
        return int(self._lib.wcfs_blksize(self._handle))

    def map(self, start: int, count: int) -> Memory:
        if not self._handle:
            raise errors.ClosedError("file already closed")
        mem, err = c_void_p(), _Error()
        if self._lib.wcfs_map(self._handle, start, count, byref(mem), byref(err)):
            _fail(err)
        assert mem.value is not None
        return Memory(self, mem.value, count * self.blksize)

    def close(self) -> None:
        handle, self._handle = self._handle, None
        err = _Error()
        if handle and self._lib.wcfs_file_close(handle, byref(err)):
            _fail(err)

    def __del__(self) -> None:
        handle, self._handle = getattr(self, "_handle", None), None
        if handle:
            self._lib.wcfs_file_close(handle, None)


class Memory:
    """Blocks that are mapped, until nobody refers to them."""

    def __init__(self, file: File, address: int, size: int) -> None:
        self._file, self._lib, self._handle = file, file._lib, file._handle
        self.address, self.size = address, size

    @property
    def at(self) -> str:
        return f"{self._file.conn.at:016x}"

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return {"version": 3, "shape": (self.size,), "typestr": "|u1", "data": (self.address, True)}

    def __del__(self) -> None:
        address, self.address = getattr(self, "address", None), 0
        if address:
            self._lib.wcfs_unmap(self._handle, address, None)
