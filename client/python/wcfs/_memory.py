"""Memory of the past: a plain map of @tid/bigfile/oid, that never changes."""
from __future__ import annotations

import ctypes
import mmap
import os
from typing import Any

from . import errors
from ._mount import Joined, failed

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

_FIXED, _NORESERVE, _HUGEPAGE, _RANDOM = 0x10, 0x4000, 14, 1  # as on all of Linux but for some old machines
_HUGE = 2 << 20


class PastMemory:
    """Bytes of a file as of a view, followed by zeros. It works in children of fork, too."""

    def __init__(self, joined: Joined, at: str, oid: str, size: int) -> None:
        self.address, self.size = 0, size
        self._at = at
        path = f"@{at}/bigfile/{oid}"
        try:
            fd = joined.open(path)
        except OSError as err:
            raise failed(f"open {joined.point}/{path}", err) from err
        try:
            stat = os.fstat(fd)
            there = min(size, stat.st_size)
            nothing = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE
            self.address = self._map(0, size, nothing, -1)
            if there > 0:
                self._map(self.address, there, mmap.MAP_SHARED | _FIXED, fd)
                # Each fault shall load one block; see map_over in libwcfs.
                if stat.st_blksize % _HUGE == 0 and _libc.madvise(self.address, there, _HUGEPAGE) == 0:
                    _libc.madvise(self.address, there, _RANDOM)
        finally:
            os.close(fd)

    @staticmethod
    def _map(address: int, size: int, flags: int, fd: int) -> int:
        mapped = _libc.mmap(address or None, size, mmap.PROT_READ, flags, fd, 0)
        if mapped in (None, ctypes.c_void_p(-1).value):
            raise errors.Error(f"map {size} bytes: {os.strerror(ctypes.get_errno())}")
        return int(mapped)

    @property
    def at(self) -> str:
        return self._at

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return {"version": 3, "shape": (self.size,), "typestr": "|u1", "data": (self.address, True)}

    def __del__(self) -> None:
        address, self.address = getattr(self, "address", 0), 0
        if address:
            _libc.munmap(address, self.size)
