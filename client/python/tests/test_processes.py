"""Other processes: fork, spawn, pickles, and the end of a server."""
import faulthandler
import multiprocessing
import os
import pickle
import signal

import dask.array
import joblib
import numpy as np
import pytest
from conftest import KILLED_BY_FAULT, big, script, servers

import wcfs


def total(array):
    assert isinstance(array, wcfs.Array)
    return float(array.sum())


def child(work):
    """Runs work in a child of fork, and returns the status that it has ended with."""
    pid = os.fork()
    if pid == 0:
        faulthandler.disable()  # a fault is what some of them are about
        try:
            work()
            os._exit(0)
        except BaseException as err:
            os.write(2, repr(err).encode())
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_fork(db):
    s = db.snapshot()
    a, past = s["t"], db.snapshot(at=s.at)["t"]
    assert a[9, 9] == past[9, 9]
    head = pickle.dumps(a)

    def work():
        np.testing.assert_array_equal(past, big(0))
        for use in (lambda: s["t"], s.refresh, db.snapshot):
            with pytest.raises(wcfs.errors.ForkedError):
                use()
        np.testing.assert_array_equal(pickle.loads(head), big(0))
        np.testing.assert_array_equal(db.snapshot(at=s.at)["t"], big(0))
        with wcfs.open(db.mountpoint) as own:
            np.testing.assert_array_equal(own.snapshot()["t"], big(0))

    assert child(work) == 0
    assert child(lambda: a[0, 0]) in KILLED_BY_FAULT
    assert child(lambda: a[1023, 1023]) in KILLED_BY_FAULT
    # The parent does not notice.
    db.append("t", np.zeros((1, 1024)))
    np.testing.assert_array_equal(a, big(0))
    del a
    assert s.refresh()["t"].shape == (1025, 1024)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_pool(db, method):
    a = db.snapshot()["t"]
    db.import_("t", np.zeros(3), replace=True)
    parts = [a[i : i + 256] for i in range(0, 1024, 256)]
    assert max(len(pickle.dumps(p)) for p in parts) < 1000
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(total, parts) == [float(big(0)[i : i + 256].sum()) for i in range(0, 1024, 256)]


def test_pickles_are_references(db):
    a = db.snapshot()["t"]
    for part in (a, a[3:5], a[::-1], a[:, 7], a.T, a[3], a.reshape(-1)[9:100:7], a.view("i8")[1]):
        text = pickle.dumps(part)
        assert len(text) < 1000
        again = pickle.loads(text)
        assert type(again) is wcfs.Array and again.strides == part.strides and not again.flags.writeable
        np.testing.assert_array_equal(again, part)
    for copy in (a[3:5].copy(), a[[1, 2]]):
        assert len(pickle.dumps(copy)) > copy.nbytes  # of its own memory
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(copy)), copy)


def test_joblib(db):
    a = db.snapshot()["t"]
    for backend in ("loky", "multiprocessing"):
        sums = joblib.Parallel(n_jobs=2, backend=backend)(joblib.delayed(total)(a[i : i + 256]) for i in range(0, 1024, 256))
        assert sums == [float(big(0)[i : i + 256].sum()) for i in range(0, 1024, 256)]


def test_dask_over_three_snapshots(db):
    arrays = [db.snapshot()["t"]]
    for i in (1, 2):
        db.import_("t", big(i), replace=True)
        arrays.append(db.snapshot()["t"])
    stack = dask.array.stack([dask.array.from_array(a, chunks=(256, 1024)) for a in arrays])
    want = np.stack([big(i) for i in range(3)])
    for scheduler in ("threads", "processes"):
        with dask.config.set(scheduler=scheduler, num_workers=2):
            np.testing.assert_array_equal((stack[2] - stack[0]).compute(), want[2] - want[0])
            assert float(stack.sum()) == float(want.sum())


CRASHED = """
import sys, wcfs
db = wcfs.open(sys.argv[1], start=False)
s = db.snapshot()
a = s["t"]
print("ready", flush=True)
sys.stdin.readline()
for use in (lambda: s.refresh(move=True), db.snapshot, lambda: db.head):
    try:
        use()
    except wcfs.errors.GoneError:
        continue
    except wcfs.Error as err:
        print(type(err), err)
        continue
    print("no error")
print("done", flush=True)
sys.stdin.readline()
a[500, 500]
"""


def test_server_that_crashes_and_is_started_again(made, db):
    import subprocess
    import sys

    client = subprocess.Popen([sys.executable, "-c", CRASHED, made], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert client.stdout.readline() == "ready\n"
    (server,) = servers(db.zurl)
    os.kill(server["pid"], signal.SIGKILL)
    client.stdin.write("\n")
    client.stdin.flush()
    assert client.stdout.readline() == "done\n"
    with pytest.raises(wcfs.errors.GoneError):
        db.snapshot()
    with wcfs.open(made) as again:
        np.testing.assert_array_equal(again.snapshot()["t"], big(0))
        assert db.mountpoint == again.mountpoint
    client.communicate("\n", timeout=60)
    assert client.returncode in KILLED_BY_FAULT


def test_stuck_client_is_said_why():
    code, said = script("import wcfs; wcfs.open('/dev/shm', start=False)")
    assert code == 1 and "NotRunningError" in said
