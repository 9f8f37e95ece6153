"""The things that tests have: a database that is not there yet, and is not served any more when they end."""
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

import wcfs
from wcfs import _mount

HERE = os.path.dirname(os.path.abspath(__file__))
WITNESS = os.path.join(HERE, "..", "..", "..", "t", "witness")  # the classes of wendelin.core


# Tests that need time take so many times as long; make soak says 10.
EFFORT = int(os.environ.get("WCFS_TEST_EFFORT", "1"))


def big(stamp):
    """Four blocks of 2 MiB."""
    return np.arange(1 << 20, dtype="<f8").reshape(-1, 1024) + stamp


def servers(zurl):
    listed = json.loads(subprocess.run([_mount.program(), "list", "--json"], capture_output=True, check=True).stdout)
    return [s for s in listed["servers"] if s.get("database") == zurl or s.get("zurl") == zurl]


def stop(path):
    subprocess.run([_mount.program(), "stop", path], capture_output=True, timeout=60)


@pytest.fixture
def path(tmp_path):
    """The path of a database that does not exist."""
    path = str(tmp_path / "climate.fs")
    yield path
    stop(path)


ARRAYS = {"t": big(0), "a": np.arange(10.0), "b": np.asfortranarray(np.arange(12, dtype=">i4").reshape(3, 4))}


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """A database with the array t of 8 MiB, and a and b."""
    path = str(tmp_path_factory.mktemp("template") / "climate.fs")
    for name, array in ARRAYS.items():
        np.save(path + ".npy", array)
        subprocess.run([_mount.program(), "import", path + ".npy", path, name], check=True)
    return path


@pytest.fixture
def made(path, template):
    """The path of a copy of it."""
    shutil.copy(template, path)
    return path


@pytest.fixture
def db(made):
    with wcfs.open(made) as db:
        yield db


class Writers:
    """Threads of another process that commit all the time."""

    def __init__(self, path, oid, count):
        env = dict(os.environ, PYTHONPATH=WITNESS)
        command = [sys.executable, os.path.join(HERE, "writers.py"), path, oid, str(count)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def stop(self):
        """Ends them and returns how often they have committed."""
        out, _ = self.process.communicate("", timeout=60)
        assert self.process.returncode == 0
        return int(out)


@pytest.fixture
def writers(db):
    """Four of them, for the array t."""
    w = Writers(db.zurl[len("file://"):], db._catalog(db.head).find("t").oid, 4)
    yield w
    if w.process.poll() is None:
        w.stop()


def script(text, *args, timeout=120):
    """Runs a script in a Python of its own, and returns its exit code and what it prints."""
    done = subprocess.run([sys.executable, "-c", text, *args], capture_output=True, text=True, timeout=timeout)
    return done.returncode, done.stdout + done.stderr


KILLED_BY_FAULT = (-signal.SIGSEGV, -signal.SIGBUS)
