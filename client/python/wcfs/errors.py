"""Errors: each says what was attempted, why it failed and what to do."""
from __future__ import annotations


class Error(Exception):
    """All errors of this package."""


class NotRunningError(Error):
    """No server serves the database, and none was to be started."""


class StartError(Error):
    """A server could not be started, or a command of wcfs has failed."""


class ForeignError(Error):
    """The mount belongs to another user."""


class GoneError(Error):
    """The server has ended. Arrays of it fault where they are touched; open it again."""


class ForkedError(Error):
    """A snapshot is of the parent process. Take one in this process, or pickle the array."""


class ClosedError(Error):
    """The database or the snapshot was closed, or its connection has failed."""


class InUseError(Error):
    """Arrays of the snapshot are in use, so their memory does not move."""


class NoArrayError(Error, KeyError):
    """There is no such array at that view."""

    def __str__(self) -> str:
        return Exception.__str__(self)


class TimeoutError(Error):  # as in concurrent.futures, by this name
    """The server has not answered in time."""


class GoingBackError(Error):
    """A snapshot does not move to an older view. Take another one."""


class RefusedError(Error):
    """The server has refused it."""


# The codes of wcfs.h.
_CODES: dict[int, type[Error]] = {
    3: NotRunningError,
    4: ForeignError,
    5: StartError,
    6: GoneError,
    7: TimeoutError,
    8: ForkedError,
    9: ClosedError,
    10: ClosedError,
    11: ClosedError,
    12: ClosedError,
    13: GoingBackError,
    14: RefusedError,
    15: NoArrayError,
}


def of_code(code: int) -> type[Error]:
    """Returns the class of an error of libwcfs."""
    return _CODES.get(code, Error)
