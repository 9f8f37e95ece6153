"""Snapshots while others commit."""
import threading
import time

import numpy as np
import pytest
from conftest import EFFORT, big, script

import wcfs

TOUCHING = """
import faulthandler, sys, time
faulthandler.dump_traceback_later(60, exit=True)
import wcfs
db = wcfs.open(sys.argv[1])
until = time.monotonic() + float(sys.argv[2])
n = 0
sys.setswitchinterval(1e9)  # whoever has the GIL keeps it
while time.monotonic() < until or n < 4:
    s = db.snapshot()
    a = s["t"]
    stamp = a[0, 0]
    while n % 3 == 0 and db.head == s.at and time.monotonic() < until:
        pass
    for blk in range(4):
        # An item is read with the GIL held.
        for row in (256 * blk, 256 * blk + 100, 256 * blk + 255):
            assert a[row, 5] == stamp or stamp == 0 and a[row, 5] == row * 1024 + 5, (s.at, row, a[row, 5], stamp)
    n += 1
print(n)
"""


def test_fault_with_the_gil_held(made, db, writers):
    """A pinner in Python would wait for the GIL of the thread that waits for it."""
    code, said = script(TOUCHING, made, str(4 * EFFORT))
    assert code == 0, said
    assert int(said) > 3
    assert writers.stop() > 3


def test_snapshots_are_those_of_the_past(db, writers):
    """A live snapshot shows, at once and later, the state that the transaction has left."""
    until = time.monotonic() + 3 * EFFORT
    n = 0
    while time.monotonic() < until or n < 3:
        s = db.snapshot()
        a = s["t"]
        some = a[::64].copy()
        past = db.snapshot(at=s.at)["t"]
        np.testing.assert_array_equal(some, past[::64])
        np.testing.assert_array_equal(a, past)
        np.testing.assert_array_equal(a[::64], some)
        n += 1
    assert writers.stop() > 3


def test_refresh_while_others_commit(db, writers):
    s = db.snapshot()
    seen = set()
    until = time.monotonic() + 30
    for n in range(3000):
        if n >= 30 and (len(seen) > 2 or time.monotonic() > until):
            break
        a = s["t"]
        stamp = float(a[0, 0])
        assert (a == stamp).all() or (np.asarray(a) == big(0)).all()
        seen.add(stamp)
        del a
        s.refresh()
    assert len(seen) > 2


def test_a_hundred_threads(db, writers):
    """Each with snapshots of its own, and of one that all have."""
    shared = db.snapshot()
    want = shared["t"][::128].copy()
    failures = []

    def look():
        try:
            for _ in range(EFFORT):
                np.testing.assert_array_equal(shared["t"][::128], want)
                a = db.snapshot()["t"]
                stamps = {a[0, 0], a[300, 0], a[600, 0], a[1000, 1000]}
                assert len(stamps) == 1 or a[1000, 1000] == 1000 * 1024 + 1000, stamps
        except BaseException as err:
            failures.append(err)

    threads = [threading.Thread(target=look) for _ in range(100)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
        assert not t.is_alive()
    assert failures == []


def test_memory_stays_flat(db):
    """Thousands of snapshots, of many states, leave nothing behind."""

    def resident():
        with open("/proc/self/status") as status:
            return int(next(line for line in status if line.startswith("VmRSS:")).split()[1]) << 10

    def mappings():
        with open("/proc/self/maps") as maps:
            return sum(1 for _ in maps)

    def take(count):
        for i in range(count):
            if i % 250 == 0:
                db.append("a", np.zeros(1))
            s = db.snapshot() if i % 4 else db.snapshot(at=db.head)
            assert s["a"][3] == 3.0

    take(500)
    before, maps, threads = resident(), mappings(), threading.active_count()
    take(1000 * EFFORT)
    assert resident() - before < 8 << 20
    assert mappings() - maps < 50
    assert threading.active_count() == threads
