"""What every file here needs: running the command, counting, tensors as bytes."""

import hashlib
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import traceback

RAM = os.environ.get("RAM", "build/ram")
WORK = pathlib.Path(os.environ.get("RAM_INTEROP_WORK", "build/interop-work"))
SHARED = pathlib.Path(os.environ.get("RAM_SHARED", "../shared"))

passed = failed = 0


def check(name, ok, detail=""):
    """One PASS or FAIL line; detail tells why it failed."""
    global passed, failed
    if ok:
        passed += 1
        print(f"PASS {name}", flush=True)
    else:
        failed += 1
        print(f"FAIL {name}: {detail}", flush=True)
    return bool(ok)


def attempt(name, function, *args):
    """Runs a group of checks; an exception is a failed check, not the end of the run."""
    try:
        function(*args)
    except Exception as error:  # whatever a library raises is a finding here
        traceback.print_exc(limit=4, file=sys.stdout)
        check(name, False, f"{type(error).__name__}: {error}")


def ram(*args, expect=0):
    """Runs the command; its standard output, or an exception with what it said."""
    run = subprocess.run([RAM, *map(str, args)], capture_output=True, text=True)
    if run.returncode != expect:
        raise RuntimeError(f"ram {' '.join(map(str, args))}: exit {run.returncode}: {run.stderr}")
    return run.stdout


def fresh(name):
    """A path in the work directory at which nothing lies."""
    path = WORK / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def quantize(model, name, *options):
    """ram quantize into a fresh directory."""
    out = fresh(name)
    ram("quantize", model, "-o", out, *options)
    return out


def tensors(directory):
    """{name: (dtype, shape, sha256 of the bytes)} of all model*.safetensors, parsed here."""
    found = {}
    for path in sorted(pathlib.Path(directory).glob("model*.safetensors")):
        data = path.read_bytes()
        (size,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + size])
        header.pop("__metadata__", None)
        for name, entry in header.items():
            begin, end = (8 + size + offset for offset in entry["data_offsets"])
            digest = hashlib.sha256(data[begin:end]).hexdigest()
            found[name] = (entry["dtype"], tuple(entry["shape"]), digest)
    return found


def same_tensors(name, ours, theirs):
    """Both directories hold the same tensors, byte for byte."""
    a, b = tensors(ours), tensors(theirs)
    only_a, only_b = sorted(a.keys() - b.keys()), sorted(b.keys() - a.keys())
    differ = sorted(key for key in a.keys() & b.keys() if a[key] != b[key])
    detail = f"only ours {only_a[:3]}, only theirs {only_b[:3]}, {len(differ)} differ {differ[:3]}"
    return check(f"{name} ({len(a)} tensors)", not (only_a or only_b or differ), detail)


def read_json(path):
    return json.loads(pathlib.Path(path).read_text())
