"""The four metrics of `ram analyze` against torch."""

import math

import torch
from safetensors import safe_open

import common
import models
from common import SHARED, attempt, check, fresh

SEEDS = range(8)


def concentration(weight, seed):
    """Energy of the leading tenth of the retained singular values."""
    if min(weight.shape) <= 512:
        values = torch.linalg.svdvals(weight.double())
    else:
        torch.manual_seed(seed)
        values = torch.svd_lowrank(weight, q=256, niter=2)[1].double()
    energy = values**2
    return float(energy[: max(1, len(energy) // 10)].sum() / energy.sum())


def kurtosis(weight):
    w = weight.double()
    return float((((w - w.mean()) / w.std(correction=0)) ** 4).mean() - 3)


def output(weight):
    w = weight.double()
    rms = w.square().mean().sqrt()
    return float((w.max() - w.min()) / (16 * math.sqrt(12) * rms))


def nrmse(weight):
    """4-bit asymmetric min/max in groups of 128 along the row, the last one short."""
    squares = 0.0
    for group in weight.float().split(128, dim=1):
        low, high = group.amin(1, keepdim=True), group.amax(1, keepdim=True)
        scale = ((high - low) / 15).clamp_min(1e-12)
        back = ((group - low) / scale).round().clamp(0, 15) * scale + low
        squares += float((group.double() - back.double()).square().sum())
    return math.sqrt(squares / float(weight.double().square().sum()))


def weights(directory):
    for path in sorted(directory.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            yield from ((name, file.get_tensor(name).float()) for name in file.keys())


def compare(label, directory, limit):
    manifest = fresh(f"metrics/{label}.json")
    common.ram("analyze", directory, "-o", manifest)
    measured = {
        entry["name"]: entry["metrics"]
        for entry in common.read_json(manifest)["tensors"]
        if entry["metrics"]
    }
    worst = dict.fromkeys(("svd", "kurtosis", "output", "error"), 0.0)
    n = 0
    for name, weight in weights(directory):
        if name not in measured or n >= limit:
            continue
        n += 1
        ours = measured[name]
        seeds = SEEDS if min(weight.shape) > 512 else range(1)
        spread = torch.tensor([concentration(weight, seed) for seed in seeds], dtype=torch.float64)
        # torch's own noise from seed to seed, four deviations of it; exact where torch is exact.
        noise = 4 * float(spread.std()) if len(seeds) > 1 else 1e-5
        worst["svd"] = max(worst["svd"], abs(ours["svd"] - float(spread.mean())) / max(noise, 1e-5))
        k = kurtosis(weight)
        worst["kurtosis"] = max(worst["kurtosis"], abs(ours["kurtosis"] - k) / (1e-4 * (1 + abs(k))))
        worst["output"] = max(worst["output"], abs(ours["output"] / output(weight) - 1) / 1e-5)
        worst["error"] = max(worst["error"], abs(ours["error"] / nrmse(weight) - 1) / 1e-4)
    for metric, distance in worst.items():
        check(
            f"metrics {label} {metric} as torch's ({n} matrices)",
            n > 0 and distance <= 1,
            f"{distance:.2f} times what is allowed",
        )


def run():
    wide = models.make(
        "llama", "metrics-wide", hidden=640, intermediate_size=1152, num_hidden_layers=1,
        num_attention_heads=10, vocab_size=768,
    )  # fmt: skip
    attempt("metrics wide", compare, "wide", wide, 100)
    small = models.make("qwen3_moe", "metrics-moe", hidden=160, moe_intermediate_size=96)
    attempt("metrics moe", compare, "moe", small, 100)
    for name in ("tiny-qwen3", "ref-qwen3-moe", "ref-glm4-moe-lite"):
        if (SHARED / "models" / name).exists():
            attempt(f"metrics {name}", compare, name, SHARED / "models" / name, 60)
