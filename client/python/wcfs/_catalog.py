"""Arrays by name: what a mount says of them below @tid/arrays/."""
from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
from typing import Any, Iterator, NamedTuple

import numpy as np

from . import errors
from ._mount import Joined, failed

_NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
_MOST = 16 << 20  # bytes that can be said about an array
_LONGEST, _DIGITS = 232, 32  # bytes of a name that is not cut; digits that end one that is


class Entry(NamedTuple):
    """An array of a database, as of a view."""

    name: str
    oid: str  # of the file that has its data
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: str


def encode(key: str) -> str:
    """Returns what the mount calls a key.

    >>> encode("temperature"), encode("50%"), encode("a/b"), encode(".."), encode("x.npy"), encode("")
    ('temperature', '50%25', 'a%2Fb', '%2E.', 'x%2Enpy', '%empty')
    >>> name = encode("x" * 300)
    >>> len(name), name[195:202]
    (232, 'xxx%~0d')
    """
    raw = os.fsencode(key)
    name = os.fsencode(_escape(key))
    if len(name) <= _LONGEST:
        return os.fsdecode(name)
    end = "%~" + hashlib.sha256(raw).hexdigest()[:_DIGITS]
    cut = _LONGEST - len(end)
    while name[cut] & 0xC0 == 0x80:  # no half of a character stays
        cut -= 1
    percent = name.rfind(b"%", max(0, cut - 2), cut)
    return os.fsdecode(name[: percent if percent >= 0 else cut]) + end


def _escape(key: str) -> str:
    if key == "":
        return "%empty"
    dot = 0 if key in (".", "..") else key.rindex(".") if key.endswith((".npy", ".json")) else -1
    out = []
    for i, c in enumerate(key):
        if i == dot or c in "%/" or not c.isprintable():
            out.extend(f"%{b:02X}" for b in os.fsencode(c))
        else:
            out.append(c)
    return "".join(out)


def decode(name: str) -> str | None:
    """Returns the key that the mount calls so; None if the name does not tell.

    >>> decode("50%25"), decode("%empty"), decode("abc%~00"), decode("a%@0000000000000005")
    ('50%', '', None, None)
    """
    if name == "%empty":
        return ""
    if "%~" in name or "%@" in name:
        return None
    raw = re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes([int(m.group(1), 16)]), os.fsencode(name))
    return os.fsdecode(raw)


def dtype_of(said: Any) -> np.dtype[Any]:
    """Returns the type that JSON describes, where lists stand for tuples.

    >>> dtype_of([["t", "<f8"], [["T", "v"], ">i4", [2]]])
    dtype([('t', '<f8'), (('T', 'v'), '>i4', (2,))])
    >>> dtype_of([["a", "|u1"], ["", "|V7"], ["b", "<f8"]])
    dtype({'names': ['a', 'b'], 'formats': ['u1', '<f8'], 'offsets': [0, 8], 'itemsize': 16})
    """
    return np.lib.format.descr_to_dtype(_descr(said))


def _descr(said: Any) -> Any:
    if not isinstance(said, list):
        return said
    if len(said) == 2 and isinstance(said[1], list) and all(isinstance(n, int) for n in said[1]):
        return _descr(said[0]), tuple(said[1])  # an array in each item
    return [_field(*field) for field in said]


def _field(name: Any, kind: Any, shape: Any = None) -> tuple[Any, ...]:
    name = tuple(name) if isinstance(name, list) else name  # with a title
    return (name, _descr(kind)) if shape is None else (name, _descr(kind), tuple(shape))


class Catalog:
    """The arrays of a view. A name costs reading one small file, which is remembered."""

    def __init__(self, joined: Joined, at: str) -> None:
        self.root = f"@{at}/arrays"
        self._joined = joined
        self._entries: dict[str, Entry] = {}

    def find(self, name: str) -> Entry | None:
        """Returns an array, None if there is none of that name."""
        entry = self._entries.get(name)
        if entry is None:
            for path in self._paths(self.root, name.split("/")):
                text = self._read(path + ".json")
                if text is not None:
                    entry = self._entries[name] = _entry(name, json.loads(text))
                    break
        return entry

    def _paths(self, base: str, parts: list[str]) -> Iterator[str]:
        """Yields where an array may be: keys may have slashes, too."""
        for n in range(1, len(parts)):
            inner = base + "/" + encode("/".join(parts[:n]))
            if self._is_dir(inner):
                yield from self._paths(inner, parts[n:])
        yield base + "/" + encode("/".join(parts))

    def _is_dir(self, path: str) -> bool:
        try:
            return stat.S_ISDIR(self._joined.stat(path).st_mode)
        except OSError as err:
            if err.errno in _NOTHING:
                return False
            raise failed(f"look at {self._joined.point}/{path}", err) from err

    def _read(self, path: str) -> bytes | None:
        try:
            fd = self._joined.open(path)
        except OSError as err:
            if err.errno in _NOTHING:
                return None
            raise failed(f"open {self._joined.point}/{path}", err) from err
        try:
            with os.fdopen(fd, "rb") as file:
                text = file.read(_MOST + 1)
        except OSError as err:
            raise failed(f"read {self._joined.point}/{path}", err) from err
        if len(text) > _MOST:
            raise errors.Error(f"{self._joined.point}/{path} has more than {_MOST} bytes")
        return text

    def names(self) -> list[str]:
        """Returns the names of all arrays and files. Of several with one name it is the first."""
        return sorted(self._names(self.root, ()))

    def _names(self, path: str, keys: tuple[str, ...]) -> Iterator[str]:
        try:
            fd = self._joined.open(path)
            try:
                with os.scandir(fd) as listing:
                    # A link leads to where a directory is already.
                    found = [(e.name, e.is_dir(follow_symlinks=False)) for e in listing if not e.is_symlink()]
            finally:
                os.close(fd)
        except OSError as err:
            raise failed(f"list {self._joined.point}/{path}", err) from err
        for name, is_dir in found:
            if is_dir:
                key = decode(name)
                if key is not None:
                    yield from self._names(f"{path}/{name}", keys + (key,))
            elif name.endswith(".json"):
                key = decode(name[: -len(".json")])
                if key is not None:
                    yield "/".join(keys + (key,))
                elif "%@" not in name:  # it was cut
                    yield "/".join(json.loads(self._read(f"{path}/{name}") or b'{"name": []}')["name"])


def _entry(name: str, said: dict[str, Any]) -> Entry:
    if said["npy"]:
        return Entry(name, said["file"], dtype_of(said["dtype"]), tuple(said["shape"]), said["order"])
    if "dtype" in said or "file_size" not in said:
        raise errors.NoArrayError(f"{name}: {said.get('error') or said['reason']}")
    return Entry(name, said["file"], np.dtype("u1"), (said["file_size"],), "C")  # a file without array
