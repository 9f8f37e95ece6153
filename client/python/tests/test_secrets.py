"""Secrets of a url are seen by nobody."""
import glob
import os
import threading

import numpy as np
import pytest
from conftest import stop
from wcfs import _mount

import wcfs

# What looks like a password is one for all that shows urls; here it is a part of a path.
SECRET = "hunter2"


@pytest.fixture
def secret(tmp_path, template):
    """The url of a database, with a password."""
    place = tmp_path / f"of;password={SECRET}"
    place.mkdir()
    path = str(place / "climate.fs")
    with open(template, "rb") as file, open(path, "wb") as copy:
        copy.write(file.read())
    yield "file://" + path
    stop(path)


class Commands:
    """Looks at the command lines of all processes, all the time."""

    def __init__(self):
        self.seen = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _look(self):
        while not self._over.is_set():
            for path in glob.glob("/proc/[0-9]*/cmdline"):
                try:
                    with open(path, "rb") as file:
                        self.seen.add(file.read())
                except OSError:
                    pass  # it has ended


@pytest.fixture
def recorder(tmp_path, monkeypatch):
    """Writes down the arguments of each command of wcfs that is run, however short it is."""
    record = tmp_path / "record"
    script = tmp_path / "wcfs"
    script.write_text(f'#!/bin/sh\necho "$@" >> {record}\nexec {os.path.abspath(_mount.program())} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("WCFS", str(script))
    return record


def test_secrets_are_in_no_command_line(secret, recorder):
    """Not of the server that is started, nor of the commands that write and look back."""
    with Commands() as commands:
        with wcfs.open(secret) as db:
            assert db.zurl == secret
            before = db.append("a", np.arange(3.0))
            db.import_("a", np.zeros(3), replace=True)
            assert next(db.follow("a", since=before)).changed == [(0, 3)]
            db.snapshot(at="-1d")
            with wcfs.open(secret, start=False) as again:
                assert again.mountpoint == db.mountpoint
            assert SECRET not in repr(db) + repr(db.snapshot())
            with pytest.raises(wcfs.errors.NoArrayError) as err:
                db.snapshot()["nothing"]
            assert SECRET not in str(err.value)
    run = recorder.read_text()
    assert all(f"\n{verb} " in "\n" + run for verb in ("mount", "import", "diff", "log")), run
    assert SECRET not in run
    assert any(b"password=xxx" in line for line in commands.seen), "its server was looked at"
    assert not any(SECRET.encode() in line for line in commands.seen)


def test_a_secret_that_is_not_known_is_not_shown(secret):
    stop(secret[len("file://"):])
    with pytest.raises(wcfs.errors.NotRunningError, match="password=xxx") as err:
        wcfs.open(secret, start=False)
    assert SECRET not in str(err.value)
