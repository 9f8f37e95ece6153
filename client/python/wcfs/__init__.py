"""Arrays of a ZODB database as NumPy arrays that do not change.

>>> import numpy, wcfs
>>> db = wcfs.open("climate.fs")
>>> tid = db.import_("temperature", numpy.arange(6.0).reshape(3, 2))
>>> s = db.snapshot()
>>> s.names()
['temperature']
>>> a = s["temperature"]
>>> a
Array([[0., 1.],
       [2., 3.],
       [4., 5.]])

The array `a` stays as it is, whatever others commit:

>>> tid = db.append("temperature", numpy.array([[6.0, 7.0]]))
>>> a.shape, float(a.sum())
((3, 2), 15.0)
>>> float(db.snapshot()["temperature"].sum())
28.0

It has no data of its own, and cannot be changed:

>>> a.flags.writeable, a.flags.owndata
(False, False)

A snapshot moves when nobody looks at its arrays:

>>> s.refresh()
Traceback (most recent call last):
  ...
wcfs.errors.InUseError: 1 arrays of the snapshot are in use, and would change: delete them before, or say move=True
>>> del a
>>> s.refresh()["temperature"].shape
(4, 2)

Every state of the past is there, as long as the database is not packed:

>>> before = db.snapshot(at="-1d")
>>> before.names()
[]

To follow an array, for ever:

>>> for s in db.follow("temperature", since=tid):
...     print(s.changed, s["temperature"][-1])
...     break
... # doctest: +SKIP
[(4, 5)] [8. 9.]

Touching an array is reading memory. If the server is gone, or cannot load a block, that
memory faults: the process gets SIGBUS.
"""
from . import errors
from ._array import Array
from ._database import Database, Snapshot, View, open
from .errors import Error

__all__ = ["Array", "Database", "Error", "Snapshot", "View", "errors", "open"]
