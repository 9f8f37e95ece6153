"""writers.py PATH OID COUNT: threads that commit blocks of a ZBigFile until stdin ends.

Each commit fills all four blocks with one number, that no other commit has.
"""
import itertools
import struct
import sys
import threading

import transaction
import ZODB
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError
from ZODB.utils import p64

from wendelin.bigfile.file_zodb import ZBlk0

numbers = itertools.count(1)
commits = []
over = threading.Event()


def write(db, oid):
    manager = transaction.TransactionManager()
    conn = db.open(manager)
    while not over.is_set():
        manager.begin()
        file = conn.get(oid)
        data = struct.pack("<d", -next(numbers)) * (file.blksize // 8)
        for blk in range(4):
            file.blktab[blk] = ZBlk0(data)
        try:
            manager.commit()
            commits.append(1)
        except ConflictError:
            manager.abort()
        over.wait(0.01)
    manager.abort()
    conn.close()


def main():
    path, oid, count = sys.argv[1], p64(int(sys.argv[2], 16)), int(sys.argv[3])
    db = ZODB.DB(FileStorage(path))
    threads = [threading.Thread(target=write, args=(db, oid)) for _ in range(count)]
    for t in threads:
        t.start()
    print("ready", flush=True)
    sys.stdin.read()
    over.set()
    for t in threads:
        t.join()
    db.close()
    print(len(commits))


main()
