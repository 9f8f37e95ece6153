"""The examples in the documentation of the package."""
import builtins
import doctest
import os
import re
import subprocess
import textwrap
import threading

import numpy as np
import pytest
from conftest import HERE, stop

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


class Enough(Exception):
    """Ends an example that would go on for ever."""


@pytest.mark.parametrize("document", ["client/python/README.rst", "doc/guide.rst"])
def test_examples_of_documents(document, made, monkeypatch):
    """They are run word for word, where climate.fs has the array temperature, until they follow it."""
    monkeypatch.chdir(os.path.dirname(made))
    with open(os.path.join(HERE, "..", "..", "..", document)) as file:
        blocks = re.findall(r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)", file.read(), re.M)
    assert len(blocks) == 1
    over = threading.Event()
    said = []

    def say(*words):
        said.append(words)
        if isinstance(words[0], list):
            raise Enough

    def commit():
        while not over.wait(0.2):
            db.append("temperature", np.ones((1, 2)))

    with wcfs.open(made) as db:
        db.import_("temperature", np.arange(40.0).reshape(20, 2))
        thread = threading.Thread(target=commit)
        monkeypatch.setattr(builtins, "print", say)
        thread.start()
        try:
            with pytest.raises(Enough):
                exec(textwrap.dedent(blocks[0]), {})
        finally:
            over.set()
            thread.join()
    assert said[-1][0][0][0] >= 0
