"""Snapshots: the newest state, the past, moves."""
import datetime
import gc
import os
import threading

import numpy as np
import pytest
from conftest import ARRAYS, big

import wcfs


def test_arrays_are_what_was_imported(db):
    s = db.snapshot()
    assert s.names() == ["a", "b", "t"] == list(s)
    assert "t" in s and "x" not in s
    assert s.at == db.head
    for name, want in ARRAYS.items():
        for a in (s[name], db.snapshot(at=s.at)[name]):
            assert isinstance(a, np.ndarray)
            assert a.dtype == want.dtype
            np.testing.assert_array_equal(a, want)
            assert not a.flags.writeable and not a.flags.owndata
            with pytest.raises(ValueError):
                a.flags.writeable = True
    assert s["b"].flags.f_contiguous
    with pytest.raises(KeyError, match="no array 'x'"):
        s["x"]


def test_what_is_computed_is_plain(db):
    a = db.snapshot()["a"]
    assert type(a[2:5]) is wcfs.Array
    assert type(a + 1) is np.ndarray
    assert type(a.sum()) is np.float64
    assert type(np.sqrt(a)) is np.ndarray


def test_snapshot_does_not_change(db):
    s = db.snapshot()
    a = s["a"]
    for i in range(3):
        db.import_("a", np.full(10, i + 100.0), replace=True)
        db.append("t", np.zeros((1, 1024)))
        np.testing.assert_array_equal(a, np.arange(10.0))
        np.testing.assert_array_equal(s["t"], big(0))
        np.testing.assert_array_equal(db.snapshot()["a"], np.full(10, i + 100.0))
        assert db.snapshot()["t"].shape == (1024 + i + 1, 1024)


def test_arrays_keep_their_memory(db):
    a = db.snapshot()["t"][5:7]
    gc.collect()
    db.close()
    np.testing.assert_array_equal(a, big(0)[5:7])


def test_closed_snapshot_gives_no_arrays(db):
    with db.snapshot() as s:
        a = s["t"]
    with pytest.raises(wcfs.errors.ClosedError):
        s["t"]
    assert a[0, 1] == 1
    db.close()
    with pytest.raises(wcfs.errors.ClosedError):
        db.snapshot()


def test_refresh(db):
    s = db.snapshot()
    a = s["t"]
    tid = db.append("t", np.full((1024, 1024), 7.0))
    with pytest.raises(wcfs.errors.InUseError):
        s.refresh()
    view = a[3]
    del a
    gc.collect()
    with pytest.raises(wcfs.errors.InUseError):  # a part is enough
        s.refresh()
    del view
    assert s.refresh() is s and s.at == tid
    assert s["t"].shape == (2048, 1024) and s["t"][-1, -1] == 7
    a = s["t"]
    db.import_("a", np.zeros(10), replace=True)
    s.refresh(move=True)
    assert s.at == db.head and a[-1, -1] == 7
    with pytest.raises(wcfs.errors.GoingBackError):
        s.refresh(tid, move=True)
    with pytest.raises(wcfs.errors.GoingBackError):
        db.snapshot(at=tid).refresh()


def test_past(db):
    first = db.head
    then = datetime.datetime.now(datetime.timezone.utc)
    db.import_("a", np.zeros(10), replace=True)
    for at in (first, int(first, 16), bytes.fromhex(first), "@" + first):
        s = db.snapshot(at=at)
        assert s.at == first
        np.testing.assert_array_equal(s["a"], np.arange(10.0))
    assert db.snapshot(at=then).at <= db.head
    assert db.snapshot(at="-1d").names() == []
    assert db.snapshot(at=then - datetime.timedelta(days=1)).names() == []
    with pytest.raises(wcfs.Error):
        db.snapshot(at="nonsense")


def test_follow(db):
    def commit():
        db.import_("other", np.arange(3))
        for rows in (10, 300):
            db.append("t", np.zeros((rows, 1024)))
            seen.acquire()

    seen = threading.Semaphore(0)
    got = []
    thread = threading.Thread(target=commit)
    snapshots = db.follow("t", since=db.head)
    thread.start()
    for s in snapshots:
        got.append((s.changed, s["t"].shape))
        seen.release()
        if len(got) == 2:
            break
    thread.join()
    # Blocks have 256 rows: that of the end changes as a whole.
    assert got == [([(1024, 1034)], (1034, 1024)), ([(1024, 1334)], (1334, 1024))]


def test_zeros_behind_the_data(db):
    db.import_("sparse", np.zeros((3, 1 << 18)))
    for s in (db.snapshot(), db.snapshot(at=db.head)):
        assert s["sparse"].shape == (3, 1 << 18)
        assert not s["sparse"].any()


def test_objects_are_refused(db):
    with pytest.raises(ValueError):
        db.import_("objects", np.array([{}, []], dtype=object))


def test_import_says_what_is_wrong(db):
    with pytest.raises(wcfs.Error, match="exit code 13"):
        db.import_("t", np.arange(3))
    with pytest.raises(wcfs.errors.NoArrayError):
        db.append("nobody", np.arange(3))


def test_start(made):
    with pytest.raises(wcfs.errors.NotRunningError, match="wcfs mount"):
        wcfs.open(made, start=False)
    with pytest.raises(wcfs.errors.StartError):
        wcfs.open(made + ".nothing")
    with wcfs.open(made) as db:
        with wcfs.open(made, start=False) as other, wcfs.open(db.mountpoint) as third:
            assert other.mountpoint == db.mountpoint == third.mountpoint
            assert third.zurl == "file://" + made
    with pytest.raises(wcfs.errors.NotRunningError):
        wcfs.open(os.path.dirname(made))


def test_program_that_is_not_there(made, monkeypatch):
    monkeypatch.setenv("WCFS", "/nowhere/wcfs")
    with pytest.raises(wcfs.errors.StartError, match=r"\$WCFS"):
        wcfs.open(made)
