#!/usr/bin/env python
"""Writes a database at random, with real ZODB, and says what is in it.

    writer.py --seed N --without undo,pack DIRECTORY

writes DIRECTORY/data.fs until stdin is closed. What must be read from it is told by
two files that witnesses read:

``pool`` has random bytes, none of them 0. All content of blocks is made of slices of
it, so a few numbers say what a block is, and a few bytes say where they come from.

``truth`` is appended to, a line for each thing, after each transaction::

    T <tid>                              what follows is so since transaction <tid>
    F <oid> <epoch> <blksize> <blocks>   the file exists; its size
    G <oid>                              the file does not exist
    X <oid>                              the file cannot be told from its records
    B <oid> <block> <start>,<length>,<pool offset> ...    content; zeros elsewhere
    B <oid> <block> !                    the block cannot be told from its records
    . <tid>                              all of the transaction has been said
    P <tid>                              views before <tid> may be gone from now on

It is found by looking with ZODB at what a transaction has left, so it is right
whatever the transaction was: an undo, or a pack that has lost something.
"""
import argparse
import logging
import select
import sys

from chaos import Chaos
from database import Database


def main():
    args = parse()
    logging.disable()  # what cannot be loaded is a matter of the truth
    db = Database(args.directory, args.seed)
    chaos = Chaos(db, args.seed, args.without.split(","))
    print("writer: ready", flush=True)
    counts = {}
    while not select.select([sys.stdin], [], [], chaos.random.expovariate(1 / args.pause))[0]:
        kind = chaos.step()
        counts[kind] = counts.get(kind, 0) + 1
    db.close()
    print("writer:", *(f"{kind}={n}" for kind, n in sorted(counts.items())), flush=True)


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without", default="", help="kinds of transactions to leave out, as shrink,pack")
    parser.add_argument("--pause", type=float, default=0.05, help="seconds between transactions, on average")
    return parser.parse_args()


if __name__ == "__main__":
    main()
