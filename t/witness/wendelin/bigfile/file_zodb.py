"""Stand-ins for the persistent classes of wendelin.core: names and states, nothing else."""
from BTrees.IOBTree import IOBTree
from BTrees.LOBTree import LOBTree
from persistent import Persistent


class ZBigFile(Persistent):
    def __init__(self, blksize):
        self.blksize = blksize
        self.blktab = LOBTree()

    def __getstate__(self):
        return self.blksize, self.blktab

    def __setstate__(self, state):
        self.blksize, self.blktab = state


class ZData(Persistent):
    """Bytes; a chunk of a ZBlk1."""

    def __init__(self, data):
        self.data = data

    def __getstate__(self):
        return self.data.rstrip(b"\0")

    def __setstate__(self, state):
        self.data = state

    def chunks(self):
        """Yields (offset, object that has the bytes) of all data."""
        yield 0, self


class ZBlk0(ZData):
    """A block in one piece."""


class ZBlk1(Persistent):
    """A block of chunks, each an object of its own."""

    def __init__(self):
        self.chunktab = IOBTree()

    def __getstate__(self):
        return self.chunktab

    def __setstate__(self, state):
        self.chunktab = state

    def chunks(self):
        return self.chunktab.items()
