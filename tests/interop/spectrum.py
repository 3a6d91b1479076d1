"""The `svd` metric over many seeds against torch.svd_lowrank over many: mean and spread.

    tests/interop/run.sh spectrum        prints the table of docs/metrics.md

One draw agrees with torch if it lies within torch's own noise; here the noise is averaged away, on
matrices chosen for what a test matrix that is not Gaussian might do wrong: those whose singular
directions are coordinates, that have rows or columns far larger than the others, blocks, holes.
"""

import json
import math

import torch
from safetensors.torch import save_file

import common
from common import check, fresh
from metrics import concentration

SEEDS = 24
SHAPES = ((1024, 768), (768, 1024), (1400, 1400))  # a Gram matrix twice, tall products


def diagonal(n, m, values):
    w = torch.zeros(n, m)
    k = torch.arange(min(n, m))
    w[k, k] = values(k.float())
    return w


def matrices(n, m):
    g = torch.Generator().manual_seed(n)

    def normal(*shape):
        return torch.randn(*shape, generator=g)

    k = min(n, m)
    yield "Gaussian", normal(n, m)
    yield "Student t, 3 degrees", normal(n, m) / normal(3, n, m).square().mean(0).sqrt()
    yield "Cauchy-like tails", normal(n, m) / (normal(n, m).abs() + 0.02)
    spikes = normal(n, 20) * torch.linspace(1, 5, 20) @ normal(20, m)
    yield "20 directions over noise", normal(n, m) + 0.1 * spikes
    yield "mean = 1 deviation", normal(n, m) + 1
    yield "log-normal columns", normal(n, m) * normal(1, m).exp()
    yield "log-normal rows", normal(n, m) * normal(n, 1).exp()
    w = normal(n, m)
    w[:, torch.randperm(m, generator=g)[:6]] *= 20
    yield "6 huge columns", w
    w = normal(n, m)
    w[torch.randperm(n, generator=g)[:6]] *= 20
    yield "6 huge rows", w
    w = normal(n, m)
    w[:, :300] *= 3
    yield "300 larger columns", w
    w = torch.block_diag(*(normal(n // 8, m // 8) * (1 + b / 4) for b in range(8)))
    yield "block-diagonal", torch.nn.functional.pad(w, (0, m - w.shape[1], 0, n - w.shape[0]))
    w = normal(n, m)
    w[::3] = 0
    w[:, 1::4] = 0
    yield "zero rows and columns", w
    u, v = torch.linalg.qr(normal(n, k))[0], torch.linalg.qr(normal(m, k))[0]
    for power in (0.4, 1.0):
        yield f"singular values k^-{power}", u * torch.arange(1, k + 1) ** -power @ v.T
    yield "singular values e^(-k/40)", u * torch.exp(-torch.arange(k) / 40) @ v.T
    yield "rank 100", u[:, :100] @ v[:, :100].T
    yield "diagonal, k^-0.4", diagonal(n, m, lambda i: (i + 1) ** -0.4)
    yield "diagonal, e^(-k/200)", diagonal(n, m, lambda i: torch.exp(-i / 200))
    yield "diagonal, 256 twos and ones", diagonal(n, m, lambda i: 1 + (i < 256).float())
    yield "diagonal, log-normal", diagonal(n, m, lambda i: normal(k).exp())


def ours(directory, names):
    """For every matrix our values for seeds 1 to SEEDS."""
    values = {name: [] for name in names}
    for seed in range(1, SEEDS + 1):
        manifest = fresh("spectrum.json")
        common.ram("analyze", directory, "-o", manifest, "--seed", seed, "--quiet")
        for entry in common.read_json(manifest)["tensors"]:
            values[entry["name"]].append(entry["metrics"]["svd"])
    return {name: torch.tensor(v, dtype=torch.float64) for name, v in values.items()}


def compare(rows, cols):
    directory = fresh(f"spectrum-{rows}x{cols}")
    directory.mkdir(parents=True)
    tensors = {name: w.bfloat16() for name, w in matrices(rows, cols)}
    save_file(tensors, directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps({"model_type": "matrices"}))
    measured = ours(directory, tensors)
    print(f"{rows} x {cols}, {SEEDS} seeds: c, torch's deviation, our mean less torch's (and in")
    print("standard errors), our deviation over torch's")
    worst = 0.0
    for name, weight in tensors.items():
        theirs = [concentration(weight.float(), seed) for seed in range(SEEDS)]
        torchs = torch.tensor(theirs, dtype=torch.float64)
        mean, noise = float(torchs.mean()), float(torchs.std())
        gap, spread = float(measured[name].mean()) - mean, float(measured[name].std())
        error = math.hypot(noise, spread) / math.sqrt(SEEDS)
        # What is exact in both agrees to what f32 sums and bf16 bases leave.
        worst = max(worst, abs(gap) / (4 * error + 5e-6))
        worst = max(worst, spread / (2.5 * noise + 5e-6))
        print(
            f"  {name:28s} {mean:.6f} {noise:8.1e} {gap:+9.1e} ({gap / max(error, 1e-12):+5.1f})"
            f" {spread / max(noise, 1e-12):6.2f}",
            flush=True,
        )
    check(f"spectrum {rows} x {cols} as torch's on average", worst <= 1, f"{worst:.2f} times")


def run():
    torch.set_num_threads(1)
    for rows, cols in SHAPES:
        common.attempt(f"spectrum {rows} x {cols}", compare, rows, cols)
