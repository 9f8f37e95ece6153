"""The libraries that arrays are given to: pandas, h5py and zarr."""
import time

import dask.array
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from conftest import ARRAYS, Writers, big

RECORDS = np.array([(i, i / 4, b"s%d" % i) for i in range(600)], dtype=[("n", "<i4"), ("v", "<f8"), ("s", "|S4")])


def of_snapshot(db, name):
    return db.snapshot()[name]


def of_mount(db, name):
    return np.load(f"{db.mountpoint}/@{db.head}/arrays/{name}.npy", mmap_mode="r")


@pytest.fixture(params=[of_snapshot, of_mount], ids=["snapshot", "mount"])
def taken(request):
    """Takes an array by name: from a snapshot, or by NumPy alone."""
    return request.param


def test_pandas_computes_in_the_memory_of_an_array(made, db, taken):
    """A table over an array is no copy, and stays as it is while another process commits."""
    a = taken(db, "t")
    table = pd.DataFrame(a, copy=False)
    column = pd.Series(a[:, 7], copy=False, name="seven")
    want = pd.DataFrame(np.array(a))
    writer = Writers(made, db._catalog(db.head).find("t").oid, 1)
    for _ in range(3):
        before = db.head
        while db.head == before:
            time.sleep(0.001)
        pd.testing.assert_frame_equal(table, want)
        assert table.to_numpy().sum() == want.to_numpy().sum()
        assert column.sum() == want[7].sum()
    assert writer.stop() >= 3
    assert of_snapshot(db, "t")[0, 0] < 0  # others see what was committed
    assert np.shares_memory(table.to_numpy(), a) and np.shares_memory(column.to_numpy(), a)
    with pytest.raises(ValueError, match="read-only"):
        table.iloc[0, 0] = 1


def test_pandas_has_records_as_columns(db, taken):
    db.import_("r", RECORDS)
    table = pd.DataFrame(taken(db, "r"))
    pd.testing.assert_frame_equal(table, pd.DataFrame(RECORDS))
    assert list(table.columns) == ["n", "v", "s"] and table.v.sum() == RECORDS["v"].sum()
    v = taken(db, "r")["v"]
    assert np.shares_memory(pd.Series(v, copy=False).to_numpy(), v)


def test_h5py_has_what_a_snapshot_has(db, taken, tmp_path):
    db.import_("r", RECORDS)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name, want in {**ARRAYS, "r": RECORDS}.items():
            a = taken(db, name)
            file.create_dataset("whole/" + name, data=a)
            parts = file.create_dataset("parts/" + name, shape=a.shape, dtype=a.dtype, chunks=True)
            for part in parts.iter_chunks():
                parts[part] = a[part]
    with h5py.File(tmp_path / "x.h5") as file:
        for name, want in {**ARRAYS, "r": RECORDS}.items():
            for kind in ("whole", "parts"):
                got = file[kind][name]
                assert got.dtype == want.dtype
                np.testing.assert_array_equal(got[...], want)


def test_datasets_are_imported(db, tmp_path):
    """What import_ and append take is whatever NumPy takes for an array."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        db.import_("h", file.create_dataset("h", data=big(5), chunks=(100, 100)))
        db.append("h", file["h"])
    db.import_("z", zarr.array(big(6), chunks=(100, 1000)))
    db.import_("p", pd.DataFrame(ARRAYS["b"]))
    db.import_("d", dask.array.from_array(db.snapshot()["t"], chunks=(256, 1024)) + 1)
    s = db.snapshot()
    np.testing.assert_array_equal(s["h"], np.concatenate([big(5), big(5)]))
    np.testing.assert_array_equal(s["z"], big(6))
    np.testing.assert_array_equal(s["p"], ARRAYS["b"])
    np.testing.assert_array_equal(s["d"], big(1))


def test_zarr_has_what_a_snapshot_has(db, taken, tmp_path):
    for name, want in ARRAYS.items():
        a = taken(db, name)
        for store in (None, tmp_path / name):
            made = zarr.array(a, store=store)
            assert made.dtype == want.dtype
            np.testing.assert_array_equal(made[...], want)
        zarr.save(tmp_path / (name + ".zip"), a)
        np.testing.assert_array_equal(zarr.load(tmp_path / (name + ".zip")), want)


def test_zarr_has_what_dask_finds_in_two_snapshots(db, taken, tmp_path):
    before = taken(db, "t")
    db.import_("t", big(3), replace=True)
    after = taken(db, "t")
    both = dask.array.stack([dask.array.from_array(a, chunks=(256, 1024)) for a in (before, after)])
    with dask.config.set(scheduler="threads", num_workers=2):
        dask.array.to_zarr(both, str(tmp_path / "both"))
    np.testing.assert_array_equal(zarr.open(tmp_path / "both", mode="r")[...], np.stack([big(0), big(3)]))
