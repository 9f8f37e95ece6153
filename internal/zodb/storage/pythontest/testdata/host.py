"""Starts applications and servers without the time that Python takes to start.

The arguments are modules to import before. A line of JSON says what to start:
{"writer": SOCKET, "log": FILE} for a writer that is spoken to over a socket, or
{"server": CONFIGURATION, "log": FILE} for a ZEO server. The answer is the number of the
process. All of them end with this one, and this one at the end of its input.
"""
import ctypes
import importlib
import json
import os
import resource
import signal
import socket
import sys
import traceback

import ZODB.config  # noqa: F401

import writer

PR_SET_PDEATHSIG = 1

# ZODB unpickles what conflicts. The records of tests are noise, which may name the item of a
# memo that is as big as memory (save_memoize of _pickle.c): that is to be a MemoryError.
MEMORY = 4 << 30


def run(cmd):
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    log = os.open(cmd["log"], os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if cmd.get("server"):
        os.chdir(os.path.dirname(cmd["log"]))
        import ZEO.runzeo
        ZEO.runzeo.main(["-C", cmd["server"]])
        return
    conn = socket.socket(socket.AF_UNIX)
    conn.connect(cmd["writer"])
    with conn.makefile("r") as lines, conn.makefile("w") as out:
        writer.serve(lines, out)


def main():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children leave nothing to wait for
    for module in sys.argv[1:]:
        importlib.import_module(module)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(0)
            os.open(os.devnull, os.O_RDONLY)
            try:
                run(json.loads(line))
            except Exception:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(0)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
