"""The examples in the documentation of the package."""
import doctest
import os
import subprocess

import pytest
from conftest import stop

import wcfs
from wcfs import _catalog, _database, _mount


@pytest.mark.parametrize("module", [_catalog, _database, _mount], ids=lambda m: m.__name__)
def test_examples(module):
    assert doctest.testmod(module).failed == 0


def test_examples_of_the_package(tmp_path, monkeypatch):
    """They are for a database climate.fs that is empty."""
    monkeypatch.chdir(tmp_path)
    empty = os.path.join(tmp_path, "climate.fs")
    subprocess.run([_mount.program(), "import", "-", empty, "x", "--raw"], input=b"x", check=True)
    subprocess.run([_mount.program(), "rm", empty, "x"], check=True)
    try:
        found = doctest.testmod(wcfs)
        assert found.attempted > 10 and found.failed == 0
    finally:
        stop(empty)
