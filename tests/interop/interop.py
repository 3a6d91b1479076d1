"""Everything we claim about mlx, mlx-lm, transformers, safetensors and torch, tried with them.

usage: interop.py [bits] [load] [metrics] [spectrum] [nll] [tokenizer] [choice]
default: all but spectrum, which takes as long as all the others
Environment: RAM (the command), RAM_SHARED, RAM_INTEROP_WORK (a directory that may be emptied).
"""

import importlib
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import common


def main():
    for name in sys.argv[1:] or ["bits", "metrics", "load", "nll", "tokenizer", "choice"]:
        common.attempt(name, importlib.import_module(name).run)
    print(f"{common.passed} passed, {common.failed} failed")
    return 1 if common.failed or not common.passed else 0


if __name__ == "__main__":
    sys.exit(main())
