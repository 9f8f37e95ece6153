"""Arrays by name in the mount, by NumPy alone: head/arrays and @tid/arrays."""
import itertools
import os
import subprocess

import numpy as np
import pytest
from conftest import ARRAYS, WITNESS, script

import wcfs

# Of every kind that NumPy saves; those of t/cli (importkinds_test.go), and some that are put together.
DTYPES = [
    "|b1", "|i1", "|u1", "<i2", ">u4", "<i8", "<f2", ">f4", "<f8", "<c8", ">c16", "<f16", "|S5", "<U3", ">U1", "|V7", "<M8[ns]", "<m8[25s]",
    [("t", "<f8"), ("v", ">i4", (2, 3)), ("s", "|S3")],
    [("a", [("x", "|u1"), ("y", "<i2")]), ("b", "<f4")],
    [(("title", "t"), "<i2"), ("m", "<M8[D]")],
    np.dtype([("a", "u1"), ("b", "f8")], align=True),
    np.dtype({"names": ["b", "a"], "formats": ["<f4", "|u1"], "offsets": [0, 8], "itemsize": 12}),
]  # fmt: skip
SHAPES = [(), (0,), (5,), (513,), (3, 400), (3, 5, 7), (2, 3, 2, 5), (3, 0, 2)]


def random(dtype, shape, order, rng):
    """Returns an array of random items."""
    flat = np.frombuffer(rng.bytes(max(1, int(np.prod(shape))) * dtype.itemsize), "u1").copy()
    if dtype.kind == "b":
        flat &= 1
    if dtype.kind == "U":
        flat = rng.integers(33, 127, flat.size // 4).astype(dtype.str[0] + "u4")
    items = flat.view(dtype)[: int(np.prod(shape))]
    return np.asarray(items.reshape(shape), order=order)


@pytest.fixture
def every(path):
    """A database with arrays of every type, shape and order, and what they are."""
    rng = np.random.default_rng(15)
    arrays = {}
    for dtype, shape, order in itertools.product(map(np.dtype, DTYPES), SHAPES, "CF"):
        arrays[f"x{len(arrays)}"] = random(dtype, shape, order, rng)
    np.savez(path + ".npz", **arrays)
    command = [wcfs._mount.program(), "import", "--blksize", "4096", path + ".npz", path, "all"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with wcfs.open(path) as db:
        yield db, arrays


def items(array):
    """Returns the bytes of an array, without those that are between fields."""
    return [items(array[f]) for f in array.dtype.names] if array.dtype.names else array.tobytes()


def views(db):
    return [os.path.join(db.mountpoint, view, "arrays") for view in ("head", "@" + db.head)]


def test_every_type_shape_and_order(every):
    """What was imported is what NumPy loads, and what the package shows."""
    db, arrays = every
    s, past = db.snapshot(), db.snapshot(at=db.head)
    assert s.names() == sorted("all/" + name for name in arrays)
    for name, want in arrays.items():
        loaded = [np.load(f"{view}/all/{name}.npy", mmap_mode=mode) for view in views(db) for mode in (None, "r") if want.size or mode is None]
        for got in [*loaded, s["all/" + name], past["all/" + name]]:
            assert got.dtype == want.dtype and got.shape == want.shape, (name, want.dtype)
            assert items(got) == items(want), (name, want.dtype, want.shape)
            if want.size:
                assert got.strides == want.strides, (name, want.dtype, want.shape)


def test_appends_and_replacement_are_seen(db):
    head, past = (view + "/t.npy" for view in views(db))
    old = np.load(head, mmap_mode="r")
    before = old[-1].copy()
    for n in (1, 256, 300):
        rows = np.full((n, 1024), float(n))
        db.append("t", rows)
        for mode in (None, "r"):
            now = np.load(head, mmap_mode=mode)
            np.testing.assert_array_equal(now[-n:], rows)
            np.testing.assert_array_equal(now[:1024], ARRAYS["t"])
    assert now.shape == (1024 + 557, 1024)
    np.testing.assert_array_equal(old[-1], before)  # as long as it was
    db.import_("t", np.arange(5), replace=True)
    np.testing.assert_array_equal(np.load(head, mmap_mode="r"), np.arange(5))
    np.testing.assert_array_equal(old[::64], ARRAYS["t"][::64])  # the old one is still there
    for mode in (None, "r"):
        np.testing.assert_array_equal(np.load(past, mmap_mode=mode), ARRAYS["t"])


@pytest.mark.parametrize("key", ["50%", "x.npy", "y.json", "..", "gr\u00fc\u00dfe \u6e29\u5ea6", "a b", "\u6e29" * 85, "%" * 200], ids=ascii)
def test_names(db, key):
    """A name is what it is in the database, whatever files can be called."""
    db.import_(key, np.arange(7))
    s = db.snapshot()
    assert s.names() == sorted(["a", "b", "t", key])
    np.testing.assert_array_equal(s[key], np.arange(7))
    assert key + "x" not in s and "a/" + key not in s and key + "/a" not in s
    np.testing.assert_array_equal(np.load(f"{views(db)[0]}/{wcfs._catalog.encode(key)}.npy"), np.arange(7))


PUT = """
import sys, numpy, transaction, ZODB
from ZODB.FileStorage import FileStorage
from ZODB.utils import p64
db = ZODB.DB(FileStorage(sys.argv[1]))
conn = db.open()
exec(sys.argv[2])
transaction.commit()
db.close()
"""


def put(path, statements):
    """Commits what statements do to a connection of ZODB."""
    code, said = script("import sys; sys.path.insert(0, %r)\n" % WITNESS + PUT, path, statements)
    assert code == 0, said


def test_keys_with_slashes(made):
    put(made, "r = conn.root(); r['x/y'] = r['a']; r['d'] = {'u/v': {'w': r['b']}, 'x': 1}")
    with wcfs.open(made) as db:
        s = db.snapshot()
        assert {"x/y", "d/u/v/w"} <= set(s.names())
        np.testing.assert_array_equal(s["x/y"], ARRAYS["a"])
        np.testing.assert_array_equal(s["d/u/v/w"], ARRAYS["b"])
        for name in ("x", "d", "d/u", "d/u/v", "d/u/v/w/x", "/a", "a/", ""):
            assert name not in s


def test_objects_have_no_npy(made):
    put(
        made,
        """
import pickle, sys, types
from persistent import Persistent
class ZBigArray(Persistent): pass  # as far as it matters: what is stored of it
ZBigArray.__module__ = "wendelin.bigarray.array_zodb"
for name in ("wendelin.bigarray", "wendelin.bigarray.array_zodb"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["wendelin.bigarray.array_zodb"].ZBigArray = ZBigArray
r = conn.root()
a = r["a"]
o = ZBigArray()
o.__dict__.update({k: v for k, v in a.__dict__.items() if k != "_dtype"})
o.__dict__["_dtype"] = numpy.dtype(object)
r["o"], r["f"] = o, a.zfile
""",
    )
    with wcfs.open(made) as db:
        for view in views(db):
            listed = os.listdir(view)
            assert "o.json" in listed and "o.npy" not in listed and "f.npy" not in listed
            with pytest.raises(FileNotFoundError):
                np.load(view + "/o.npy")
        s = db.snapshot()
        assert {"a", "o", "f"} <= set(s.names())
        np.testing.assert_array_equal(s["f"][:80], ARRAYS["a"].view("u1"))  # a file is bytes
        with pytest.raises(wcfs.errors.NoArrayError, match="o: .*(object|references)"):
            s["o"]


def test_follow_tells_of_a_change_in_the_middle(made):
    with wcfs.open(made) as db:
        oid, since = db._catalog(db.head).find("t").oid, db.head
        put(made, f"from wendelin.bigfile.file_zodb import ZBlk0; f = conn.get(p64({int(oid, 16)})); "
            "f.blktab[2] = ZBlk0(numpy.full(1 << 18, 7.0).tobytes())")  # fmt: skip
        s = next(db.follow("t", since=since))
        want = ARRAYS["t"].copy()
        want[512:768] = 7  # blocks have 256 rows
        assert s.changed == [(512, 768)]
        np.testing.assert_array_equal(s["t"], want)
