"""Makes analyze_spectrum.txt: what torch says of the svd metric of made-up matrices.

    pip install torch && python analyze_spectrum.py > analyze_spectrum.txt

The matrices are those of fill() in tests/unit/analyze_spectrum.c: whole numbers under 257, which
bf16 holds exactly. A line is: kind, rows, columns, mean over the seeds, standard deviation. Up to
min = 512 torch.linalg.svd in f64, above that torch.svd_lowrank(W, q=256, niter=2) in f32.
"""
import numpy as np
import torch

SEEDS = 12
RANK, CONSTANT = 5, 3


def scramble(x):
    x = x.astype(np.uint32)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    return x ^ x >> np.uint32(16)


def bell(i):
    """Sums of eight numbers of four bits, less 60."""
    h = scramble(i)
    return sum((h >> np.uint32(4 * k) & np.uint32(15)).astype(np.int64) for k in range(8)) - 60


def sign(i):
    return 1 - 2 * (scramble(i + np.uint32(77777777)) >> np.uint32(9) & np.uint32(1)).astype(np.int64)


def matrix(kind, rows, cols):
    i = np.arange(rows, dtype=np.uint32)[:, None]
    j = np.arange(cols, dtype=np.uint32)[None, :]
    w = bell(i * np.uint32(cols) + j)
    if kind == "spiked":
        w = w + 30 * sign(i) * sign(j + np.uint32(1 << 20)) + 20 * sign(i + np.uint32(1 << 21)) * sign(
            j + np.uint32(1 << 22)
        )
    elif kind == "shifted":
        w = w + 100
    elif kind == "scaled":
        w = w * 2 ** (j % np.uint32(5)).astype(np.int64) * 8 ** (i % np.uint32(2)).astype(np.int64)
    elif kind == "lowrank":
        w = sum(
            sign(i + np.uint32(k * 4096)) * sign(j + np.uint32(k * 4096 + (1 << 23))) for k in range(RANK)
        )
    elif kind == "constant":
        w = np.full((rows, cols), CONSTANT)
    elif kind == "stair":
        w = np.where(i == j, np.maximum(240 - j.astype(np.int64) // 4, 1), 0)
    elif kind == "holes":
        w = np.where((i % 3 == 0) | (j % 4 == 1), 0, w)
    elif kind == "lonely":
        w = np.where((i < 40) & (j < 300), w, 0)
    return torch.from_numpy(w.astype(np.float32))


def concentration(w, seed):
    if min(w.shape) <= 512:
        s = torch.linalg.svdvals(w.double())
    else:
        torch.manual_seed(seed)
        s = torch.svd_lowrank(w, q=256, niter=2)[1].double()
    energy = s**2
    return float(energy[: max(1, len(s) // 10)].sum() / energy.sum())


# Its singular directions are coordinates: what differs if the test matrix is no good.
STAIR = ("stair",)
SHAPES = ((1024, 640), (640, 1024), (900, 768), (768, 900), (512, 700), (300, 40), (40, 300), (2600, 520))
print("# torch", torch.__version__)
for rows, cols in SHAPES:
    for kind in ("bell", "spiked", "shifted", "scaled", "lowrank", "constant", "holes", "lonely") + STAIR * (1024 in (rows, cols)):
        w = matrix(kind, rows, cols)
        n = SEEDS if min(w.shape) > 512 else 1
        c = torch.tensor([concentration(w, seed) for seed in range(n)], dtype=torch.float64)
        print(kind, rows, cols, f"{c.mean():.9f} {c.std() if n > 1 else 0.0:.2e}", flush=True)
