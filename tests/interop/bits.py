"""Tensor by tensor, byte by byte: what stock mlx_lm.convert writes, and safetensors' own writer."""

import contextlib
import io
import json

import torch
from mlx_lm import convert, load
from safetensors.torch import load_file, save, save_file

import common
import models
from common import SHARED, attempt, check, fresh, quantize, same_tensors

WIDTHS = [(2, 32), (3, 64), (4, 32), (4, 64), (4, 128), (5, 64), (6, 32), (8, 64), (8, 128)]
KINDS = [
    "llama", "mistral", "qwen2", "qwen3", "qwen3_moe", "glm4_moe", "glm4_moe_lite", "smollm3", "olmo2",
    "olmo3", "seed_oss", "exaone4", "hunyuan_v1_dense",
]  # fmt: skip


def stock(model, name, bits, group):
    out = fresh(name)
    with contextlib.redirect_stdout(io.StringIO()):
        convert(str(model), str(out), quantize=True, q_bits=bits, q_group_size=group)
    return out


def uniform(model, name, bits, group):
    return quantize(
        model, name, "--method", "uniform", "--bits", bits, "--group", group, "--profile", "cpu"
    )


def quantization(directory):
    """config.json's block without what it says twice: stock lists its routers even where they have
    the default width, and leaves their mode out."""
    block = common.read_json(directory / "config.json")["quantization"]
    default = {key: value for key, value in block.items() if not isinstance(value, dict)}
    entries = {key: default | value for key, value in block.items() if isinstance(value, dict)}
    return default, {key: value for key, value in entries.items() if value != default}


def one(label, model, bits, group):
    theirs = stock(model, f"stock/{label}-{bits}g{group}", bits, group)
    ours = uniform(model, f"ours/{label}-{bits}g{group}", bits, group)
    same_tensors(f"bits {label} {bits}g{group} as mlx_lm.convert", ours, theirs)
    a, b = map(quantization, (ours, theirs))
    check(f"bits {label} {bits}g{group} quantization block", a == b, f"{a} is not {b}")
    # A foreign directory is verified like one of ours.
    common.ram("verify", theirs, "--against", model)
    check(f"bits {label} {bits}g{group} verifies", True)


def same_file(label, directory):
    """Our file is the one that safetensors' reference writer makes of the same tensors."""
    path = directory / "model.safetensors"
    theirs = save(load_file(path), metadata={"format": "mlx"})
    check(f"bits {label} file as safetensors writes it", path.read_bytes() == theirs, "differs")


def eight_bit_floats(label):
    """A checkpoint in blocks of FP8 is read as the floats that torch makes of it."""
    source = models.make("llama", f"bits-{label}", hidden=192, num_attention_heads=6)
    originals = load_file(source / "model.safetensors")
    stored, floats = {}, {}
    for name, weight in originals.items():
        if weight.dim() < 2 or "_proj" not in name:
            stored[name] = floats[name] = weight
            continue
        rows, cols = weight.shape
        scale = torch.rand(-(-rows // 128), -(-cols // 128)) * 0.01 + 0.001
        spread = scale.repeat_interleave(128, 0)[:rows].repeat_interleave(128, 1)[:, :cols]
        codes = (weight.float() / spread).to(torch.float8_e4m3fn)
        stored[name], stored[f"{name}_scale_inv"] = codes, scale
        floats[name] = (codes.float() * spread).to(torch.bfloat16)
    save_file(stored, source / "model.safetensors", metadata={"format": "pt"})
    config = common.read_json(source / "config.json")
    config["quantization_config"] = {
        "quant_method": "fp8",
        "fmt": "e4m3",
        "weight_block_size": [128, 128],
    }
    (source / "config.json").write_text(json.dumps(config))

    out = quantize(source, f"ours/{label}", "--method", "uniform", "--set", ".=16")
    ours = load_file(out / "model.safetensors")
    wrong = [name for name in floats if not torch.equal(ours[name], floats[name])]
    check(f"bits {label} as torch reads it", ours.keys() == floats.keys() and not wrong, wrong[:3])
    left = common.read_json(out / "config.json").keys() & {"quantization", "quantization_config"}
    check(f"bits {label} leaves no quantization_config", not left, left)


def searched(label, model):
    """The other encoder writes the same format, nearer to the weights."""
    errors = []
    for encoder in ("rtn", "search"):
        out = quantize(
            model, f"ours/{label}-{encoder}", "--method", "uniform", "--bits", 3, "--group", 64,
            "--encoder", encoder,
        )  # fmt: skip
        load(str(out))
        tensors = common.read_json(out / "ram.json")["tensors"]
        errors.append([entry["relative_error"] for entry in tensors])
    worse = [pair for pair in zip(*errors) if pair[1] > pair[0]]
    check(f"bits {label} encoder search is never worse", not worse and errors[0] != errors[1], worse)


def run():
    for kind in KINDS:
        model = models.make(kind, f"bits-{kind}")
        for bits, group in WIDTHS:
            attempt(f"bits {kind} {bits}g{group}", one, kind, model, bits, group)
        attempt(f"bits {kind} file", same_file, kind, common.WORK / f"ours/{kind}-4g64")
    for dtype in (torch.float16, torch.float32):
        label = f"qwen3-{str(dtype).removeprefix('torch.')}"
        model = models.make("qwen3", f"bits-{label}", dtype=dtype)
        attempt(f"bits {label}", one, label, model, 4, 64)
    attempt("bits fp8", eight_bit_floats, "fp8")
    attempt("bits search", searched, "search", models.make("qwen3_moe", "bits-search"))
    for name in ("tiny-qwen3", "ref-qwen3-moe", "ref-glm4-moe-lite"):
        model = SHARED / "models" / name
        if model.exists():
            attempt(f"bits {name}", one, name, model, 4, 64)
            attempt(f"bits {name}", one, name, model, 3, 32)
