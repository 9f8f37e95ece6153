"""Decodes records by Python's own unpickler. Each line of input is a record in
hexadecimal; each line of output says what its class description and its state are, in
the form of text() in python_test.go."""
import io, pickle, struct, sys

class Made:
    """Anything that a class or function of the pickle would make."""
    def __new__(cls, *args, **kwargs):
        self = object.__new__(cls)
        self.args, self.kwargs, self.state, self.items, self.keys = args, kwargs, None, [], {}
        return self
    def __setstate__(self, state): self.state = state
    def append(self, item): self.items.append(item)
    def extend(self, items): self.items.extend(items)
    def __setitem__(self, key, value): self.keys[key] = value

class Pid:
    def __init__(self, pid): self.pid = pid

class Unpickler(pickle.Unpickler):
    known = {}
    def find_class(self, module, name):
        if (module, name) in [("_codecs", "encode"), ("builtins", "bytes")]:
            return super().find_class(module, name)
        return self.known.setdefault((module, name), type(name, (Made,), {"where": module + "." + name}))
    def persistent_load(self, pid): return Pid(pid)

def texts(values): return ",".join(map(text, values))

def pairs(d): return texts(x for item in d.items() for x in item)

def text(v):
    if v is None: return "None"
    if isinstance(v, bool): return "true" if v else "false"
    if isinstance(v, int): return str(v)
    if isinstance(v, float): return "f" + struct.pack(">d", v).hex()
    if isinstance(v, bytes): return "b" + v.hex()
    if isinstance(v, str): return "u" + v.encode("utf-8", "surrogatepass").hex()
    if isinstance(v, tuple): return "(" + texts(v) + ")"
    if isinstance(v, list): return "[" + texts(v) + "]"
    if isinstance(v, dict): return "{" + pairs(v) + "}"
    if isinstance(v, type): return "<" + v.where + ">"
    if isinstance(v, Made):
        parts = text(v.args), "{" + pairs(v.kwargs) + "}", text(v.state), text(v.items), "{" + pairs(v.keys) + "}"
        return text(type(v)) + "".join(parts)
    if isinstance(v, Pid): # of an object in the same database
        oid, cls = v.pid
        return "@" + (oid if isinstance(oid, bytes) else oid.encode()).hex() + text(cls)
    raise TypeError(type(v))

for line in sys.stdin:
    unpickler = Unpickler(io.BytesIO(bytes.fromhex(line)), encoding="bytes", fix_imports=False)
    print(text(unpickler.load()), text(unpickler.load()), flush=True)
