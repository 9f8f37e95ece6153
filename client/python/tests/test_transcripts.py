"""The exchanges of client/testdata/transcripts, by the classes over libwcfs.

$WCFS_TEST_LIBRARY is a library with the functions of client/c/test/fake.c.
"""
import ctypes
import os
import re
import socket
import threading
from ctypes import byref, c_int, c_uint64, c_void_p

import pytest

from wcfs import _lib, errors

PAGE = 4096
DIRECTORY = os.path.join(os.path.dirname(__file__), "..", "..", "testdata", "transcripts")
CLASSES = {
    "closed": errors.ClosedError,
    "down": errors.ClosedError,
    "protocol": errors.ClosedError,
    "pin": errors.ClosedError,
    "back": errors.GoingBackError,
    "refused": errors.RefusedError,
    "nofile": errors.NoArrayError,
}


@pytest.fixture(scope="module")
def library():
    lib = ctypes.CDLL(os.environ["WCFS_TEST_LIBRARY"])
    for name, (result, arguments) in _lib._SIGNATURES.items():
        getattr(lib, name).restype, getattr(lib, name).argtypes = result, arguments
    lib.wcfs_test_connect.argtypes = [c_void_p, c_int, c_uint64, c_void_p, c_void_p]
    return lib


class Run:
    def __init__(self, lib, directory):
        self.lib, self.directory = lib, directory
        self.conn = self.call = self.mount = None
        self.files, self.maps, self.wanted = {}, [], []

    def write(self, path, content):
        path = self.directory / path
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w") as file:  # the file stays the same, as in a mount
            file.write(content)

    def connect(self, at):
        self.write(".wcfs/zurl", "file:///data.fs")
        mine, theirs = socket.socketpair()
        self.peer = theirs.makefile("rw", newline="\n")
        self.socket = theirs
        self.mount, conn = c_void_p(), c_void_p()
        assert self.lib.wcfs_test_join(os.fsencode(self.directory), byref(self.mount), None) == 0
        assert self.lib.wcfs_test_connect(self.mount, mine.detach(), at, byref(conn), None) == 0
        self.conn = _lib.Conn(self.lib, conn.value)

    def expect(self):
        while self.wanted:
            line = self.peer.readline().rstrip("\n")
            assert line in self.wanted
            self.wanted.remove(line)

    def begin(self, verb, arg):
        outcome = []

        def run():
            try:
                if verb == "open":
                    self.files.setdefault(arg, []).append(self.conn.open(int(arg, 16)))
                elif verb == "close":
                    self.files[arg].pop(0).close()
                elif verb == "resync":
                    self.conn.resync(_lib.HEAD if arg == "head" else int(arg, 16))
                else:
                    self.conn.close()
                outcome.append(None)
            except errors.Error as err:
                outcome.append(err)

        self.call = threading.Thread(target=run)
        self.outcome = outcome
        self.closed_file = self.files.get(arg, [None])[0] if verb == "close" else None
        self.call.start()

    def end(self, want):
        self.call.join(60)
        assert not self.call.is_alive()
        self.call = None
        assert type(self.outcome[0]) is CLASSES.get(want, type(None)), self.outcome[0]

    def shows(self, memory, want):
        fault = "!" in want
        if fault:
            assert set(want) == {"!"}  # this process would not survive to look
            return
        data = ctypes.string_at(memory.address, memory.size)
        assert memory.size == len(want) * PAGE
        for i, letter in enumerate(want):
            assert data[i * PAGE : (i + 1) * PAGE] == (b"\0" if letter == "." else letter.encode()) * PAGE

    def step(self, line):
        verb, *args = line.split(" ")
        if verb == "head":
            self.write("head/at", args[0].rjust(16, "0"))
        elif verb == "file":
            view = args[0] if args[0] == "head" else "@" + args[0][1:].rjust(16, "0")
            self.write(f"{view}/bigfile/{args[1].rjust(16, '0')}", "".join(c * PAGE for c in args[2]))
        elif verb == "connect":
            self.connect(int(args[0], 16))
        elif verb in ("open", "close", "resync", "disconnect"):
            self.begin(verb, *(args or [""]))
        elif verb in ("ok", "fails"):
            self.end(*(args or ["ok"]))
        elif verb == "map":
            oid, start, count, *want = args
            if want:
                with pytest.raises(errors.Error):
                    (self.files[oid] or [self.closed_file])[0].map(int(start), int(count))
            else:
                self.maps.append(self.files[oid][0].map(int(start), int(count)))
        elif verb == "shows":
            self.shows(self.maps[int(args[0])], args[1])
        elif verb == "S" and args:
            self.peer.write(line[2:] + "\n")
            self.peer.flush()
        elif verb == "S":
            self.socket.shutdown(socket.SHUT_RDWR)
        elif verb == "broken":
            for use in (lambda: self.conn.resync(_lib.HEAD), lambda: self.conn.open(0x99)):
                with pytest.raises(CLASSES[args[0]]):
                    use()
        else:
            raise AssertionError(line)


@pytest.mark.parametrize("name", sorted(n for n in os.listdir(DIRECTORY) if re.fullmatch("[a-z-]+", n)))
def test_transcript(library, tmp_path, name):
    run = Run(library, tmp_path)
    with open(os.path.join(DIRECTORY, name)) as script:
        for line in script:
            line = line.rstrip("\n")
            if not line or line.startswith("#"):
                continue
            if line.startswith("C "):
                run.wanted.append(line[2:])
                continue
            run.expect()
            run.step(line)
    run.expect()
    run.maps.clear()
    run.files.clear()
    run.conn = None
    library.wcfs_leave(run.mount)
