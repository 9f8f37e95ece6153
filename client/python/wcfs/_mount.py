"""Mounts of wcfs, and its commands."""
from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
import subprocess
from typing import Any, Iterator, Sequence

from . import errors


def program() -> str:
    """Returns the command wcfs: $WCFS, or else that in $PATH."""
    return os.environ.get("WCFS") or "wcfs"


def url(database: str) -> str:
    """Returns the url of a database that is named by it, or by a path.

    >>> url("zeo://localhost:8100")
    'zeo://localhost:8100'
    >>> url("/srv/climate.fs")
    'file:///srv/climate.fs'
    """
    if "://" in database or database.startswith("demo:"):
        return database
    return "file://" + os.path.normpath(os.path.join(os.getcwd(), os.path.expanduser(database)))


# What storage.Redact hides: passwords, and options that carry secrets or lead to them.
_USER_PASSWORD = re.compile(r"(://[^:/?#@()]*:)[^()?#\s]*@")
_SECRET_OPTION = re.compile(r"((?:[?&;]|://)(?:ssl_)?(?:password|passwd|pwd|pass|key|cert|ca|secret|token)=)[^&;()#@\s]+", re.I)


def shown(zurl: str) -> str:
    """Returns a url as it may be seen by others.

    >>> shown("zeo://db?ssl_key=/secret/key&storage=a"), shown("demo:(file:///a)/(zeo://u:p@h)")
    ('zeo://db?ssl_key=xxx&storage=a', 'demo:(file:///a)/(zeo://u:xxx@h)')
    """
    return _SECRET_OPTION.sub(r"\1xxx", _USER_PASSWORD.sub(r"\1xxx@", zurl))


def _mounts() -> Iterator[tuple[int, str, str, str]]:
    """Yields number, place, source and options of each mount of wcfs; see proc(5)."""

    def plain(text: str) -> str:
        return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal.group(1), 8)), text)

    with open("/proc/self/mountinfo", errors="surrogateescape") as table:
        for line in table:
            head, _, tail = line.rstrip("\n").partition(" - ")
            fields, (kind, source, options) = head.split(" "), tail.split(" ", 2)
            if kind == "fuse.wcfs":
                yield int(fields[0]), plain(fields[4]), plain(source), options


class Joined:
    """A mount, and that this process uses it."""

    def __init__(self, point: str) -> None:
        """Joins what is mounted at a place, if it may be believed."""
        self.point = os.path.abspath(point)
        self._fds: list[int] = []
        try:
            # All is opened below the directory: another mount may take the place of this one.
            self._fds.append(os.open(self.point, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
            self._check()
            self._fds.append(self.open(".wcfs/zurl"))
            self.zurl = os.fsdecode(os.pread(self._fds[1], 1 << 16, 0))
        except (FileNotFoundError, NotADirectoryError) as err:
            raise errors.NotRunningError(f"join {self.point}: {err.strerror}") from err
        except OSError as err:
            raise failed(f"join {self.point}", err) from err

    def open(self, path: str) -> int:
        """Opens a file of the mount."""
        if not self._fds:
            raise errors.ClosedError("the database was closed")
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._fds[0])

    def stat(self, path: str) -> os.stat_result:
        """Looks at a file or directory of the mount, and not at what a link leads to."""
        if not self._fds:
            raise errors.ClosedError("the database was closed")
        return os.stat(path, dir_fd=self._fds[0], follow_symlinks=False)

    def _check(self) -> None:
        # A mount that is open to others could be anybody's, who could serve anything.
        with open(f"/proc/self/fdinfo/{self._fds[0]}") as info:
            number = re.search(r"^mnt_id:\s*(\d+)$", info.read(), re.M)
        for mount, _, _, options in _mounts():
            if number and mount == int(number.group(1)):
                owner = re.search(r"\buser_id=(\d+)", options)
                uid = int(owner.group(1)) if owner else 0
                if "allow_other" in options.split(",") and uid not in (0, os.geteuid()):
                    raise errors.ForeignError(f"{self.point}: the server there belongs to uid {uid}; its data need not be true")
                return
        raise errors.NotRunningError(f"join {self.point}: no wcfs is mounted there")

    def close(self) -> None:
        fds, self._fds = self._fds, []
        for fd in fds:
            with contextlib.suppress(OSError):  # ENOTCONN if the server is gone; it is closed anyway
                os.close(fd)

    __del__ = close


def failed(what: str, err: OSError) -> errors.Error:
    """Returns the meaning of a failure on a mount."""
    if err.errno in (errno.ENOTCONN, errno.ECONNABORTED):
        return errors.GoneError(f"{what}: the wcfs server is gone: {err.strerror}")
    if err.errno == errno.EACCES:
        return errors.ForeignError(f"{what}: {err.strerror}")
    return errors.Error(f"{what}: {err.strerror}")


def join(database: str, start: bool) -> Joined:
    """Joins the server of a database, or of the directory where one is mounted."""
    if "://" not in database and not database.startswith("demo:"):
        try:
            is_mount = stat.S_ISDIR(os.stat(database).st_mode)
        except OSError as err:
            is_mount = err.errno == errno.ENOTCONN
        if is_mount:
            return Joined(database)
    zurl, reason = url(database), None
    for _, point, source, _ in _mounts():
        if source == shown(zurl):
            try:
                joined = Joined(point)
            except errors.Error as err:
                reason = reason or err
                continue
            if joined.zurl == zurl:
                return joined
            joined.close()
    if not start:
        raise reason or errors.NotRunningError(f"no server of {shown(zurl)} is running; start one: wcfs mount {shown(database)}")
    # 3: it runs already; its place is printed, too.
    return Joined(run(["mount", "--autoexit", "--", shown(zurl)], zurl=zurl, codes=(0, 3)).strip())


def run(args: Sequence[str], *, zurl: str, codes: Sequence[int] = (0,), feed: Any = None) -> str:
    """Runs a command of wcfs and returns what it prints. feed writes its input.

    Everybody can see the arguments, so they have the url of the database as it is shown.
    The command takes it as it is from its environment.
    """
    command = [program(), *args]
    env = dict(os.environ, WCFS_ZURL=zurl)
    try:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    except OSError as err:
        raise errors.StartError(f"run {command[0]}: {err.strerror}; set $WCFS to the path of the command") from err
    with child:
        if feed is not None:
            assert child.stdin is not None
            try:
                feed(child.stdin.write)
            except BrokenPipeError:
                pass  # it says why
        out, words = child.communicate()
    if child.returncode not in codes:
        said = words.decode(errors="replace").strip()
        kind = errors.NoArrayError if child.returncode == 15 else errors.StartError
        raise kind(f"{said} (exit code {child.returncode} of wcfs {args[0]})")
    return out.decode(errors="surrogateescape")


def run_json(args: Sequence[str], **options: Any) -> Any:
    return json.loads(run(args, **options))
