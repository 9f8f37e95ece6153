"""Prints vectors.txt: a name, a pickle protocol and a pickle in each line."""
import collections, datetime, decimal, fractions, io, pickle, sys

class Plain:
    def __init__(self): self.x = 1

class Made:
    def __new__(cls, *args, **kw): return super().__new__(cls)
    def __getnewargs_ex__(self): return ("a",), {"k": 2}

class Call:
    def __init__(self, *call): self.call = call
    def __reduce__(self): return self.call

class Dicts(dict): pass

class Lists(list): pass

class Persistent:
    def __init__(self, pid): self.pid = pid

class Pickler(pickle.Pickler):
    def persistent_id(self, obj): return getattr(obj, "pid", None)

shared = ["s"]
cycle = []
cycle.append(cycle)
dictcycle = {}
dictcycle["me"] = (dictcycle,)
dicts = Dicts(k="v")
dicts.attr = 1
oid = b"\0\0\0\0\0\0\1\2"

values = {
    "none": None, "true": True, "false": False,
    "int0": 0, "int255": 255, "int256": 256, "int65536": 65536, "int-1": -1, "int-2**31": -2**31,
    "int2**31": 2**31, "int2**63-1": 2**63-1, "int-2**63": -2**63, "int2**63": 2**63, "int-2**63-1": -2**63-1,
    "int2**2100": 2**2100, "int-2**2100": -2**2100,
    "float1.5": 1.5, "float-0": -0.0, "floatinf": float("inf"), "float1e300": 1e300,
    "text": "t\u00e9xt \\u0041 \U0001f600\n\0", "textempty": "", "textlong": "x" * 300, "surrogate": "\ud800",
    "bytes": b"\0\x80\xff'\"\\\n", "bytesempty": b"", "byteslong": b"y" * 300,
    "bytearray": bytearray(b"ab\xff"),
    "tuple0": (), "tuple1": (1,), "tuple2": (1, 2), "tuple3": (1, 2, 3), "tuple4": (1, 2, 3, 4),
    "list0": [], "list1": [1], "list2": [1, "a"], "list1001": list(range(1001)),
    "dict0": {}, "dict1": {"a": 1}, "dict2": {"a": 1, (1, 2): None}, "dict1001": {i: i for i in range(1001)},
    "shared": [shared, shared], "cycle": cycle, "dictcycle": dictcycle,
    "set": {1}, "set0": set(), "frozenset": frozenset([1]),
    "class": collections.OrderedDict, "ordered": collections.OrderedDict([("a", 1)]),
    "date": datetime.date(2024, 2, 29), "decimal": decimal.Decimal("1.5"), "complex": 1+2j,
    "plain": Plain(), "dictsub": dicts, "listsub": Lists([1, 2]),
    "state": Call(complex, (1,), {"s": [2]}),
}
made = {"newargs_ex": Made()}
persistent = {
    "ref": Persistent((oid, collections.OrderedDict)), "bareref": Persistent(oid),
    "nameref": Persistent((oid, ("mod", "Name"))), "weakref": Persistent(["w", (oid,)]),
}

for protocol in range(6):
    for name, value in {**values, **(made if protocol >= 4 else {}), **(persistent if protocol else {})}.items():
        out = io.BytesIO()
        Pickler(out, protocol).dump(value)
        print(name, protocol, out.getvalue().hex())
