"""What stock mlx_lm makes of the checkpoints of tests/unit/format_layout.c: one line a tensor, in
the order in which it saves them: name, shape, type after mlx_lm.convert, sha256 of the f32 values.

    test_format_layout --write DIR && python make.py DIR .     (mlx[cpu], mlx-lm, torch, safetensors)

FP8 weights and fused experts, which mlx_lm cannot read, are turned into plain ones by torch first.
"""
import hashlib
import importlib
import json
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
import torch
from mlx.utils import tree_flatten, tree_map_with_path
from safetensors.torch import load_file

MLX = {torch.bfloat16: mx.bfloat16, torch.float16: mx.float16, torch.float32: mx.float32}
NAMES = {mx.bfloat16: "BF16", mx.float16: "F16", mx.float32: "F32"}


def plain(weights, block):
    """FP8 x scale; gate_up_proj and down_proj to the experts' own matrices. (values, type)"""
    out = {}
    for name, w in weights.items():
        if name.endswith("_scale_inv"):
            continue
        dtype = w.dtype
        if dtype == torch.float8_e4m3fn:
            s = weights[name + "_scale_inv"]
            s = s.repeat_interleave(block[0], -2).repeat_interleave(block[1], -1)
            w, dtype = w.float() * s[..., : w.shape[-2], : w.shape[-1]], torch.bfloat16
        parent, _, last = name.rpartition(".")
        if last == "gate_up_proj":
            half = w.shape[1] // 2
            for e in range(w.shape[0]):
                out[f"{parent}.{e}.gate_proj.weight"] = (w[e, :half], dtype)
                out[f"{parent}.{e}.up_proj.weight"] = (w[e, half:], dtype)
        elif last == "down_proj":
            for e in range(w.shape[0]):
                out[f"{parent}.{e}.down_proj.weight"] = (w[e], dtype)
        else:
            out[name] = (w, dtype)
    return out


def load(config, weights):
    kind = {"mistral": "llama"}.get(config["model_type"], config["model_type"])
    module = importlib.import_module(f"mlx_lm.models.{kind}")
    model = module.Model(module.ModelArgs.from_dict(config))
    model.load_weights(list(model.sanitize(dict(weights)).items()), strict=True)
    return model


def main(checkpoints, out):
    for path in sorted(Path(checkpoints).iterdir()):
        config = json.loads((path / "config.json").read_text())
        if "rope_parameters" in config:  # published spelling, which mlx_lm wants
            config["rope_theta"] = config["rope_parameters"]["rope_theta"]
            config["rope_scaling"] = None
        if "num_local_experts" in config:
            config["num_experts"] = config["num_local_experts"]
        weights = {}
        for file in path.glob("model*.safetensors"):
            weights.update(load_file(file))
        block = config.pop("quantization_config", {}).get("weight_block_size")
        weights = plain(weights, block)
        if config["model_type"].startswith("glm4_moe") and "lm_head.weight" not in weights:
            weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
        values = load(config, {k: mx.array(w.float().contiguous().numpy()) for k, (w, _) in weights.items()})
        typed = load(config, {k: mx.zeros(w.shape, MLX[d]) for k, (w, d) in weights.items()})
        # The cast of mlx_lm.convert.
        dtype = config.get("torch_dtype")
        keep = getattr(typed, "cast_predicate", lambda _: True)
        if dtype:
            typed.update(tree_map_with_path(
                lambda k, v: v.astype(getattr(mx, dtype)) if keep(k) else v, typed.parameters()))
        types = dict(tree_flatten(typed.parameters()))
        with open(Path(out) / (path.name + ".txt"), "w") as f:
            for name, value in tree_flatten(values.parameters()):
                data = np.ascontiguousarray(np.array(value), dtype="<f4").tobytes()
                print(name, list(value.shape), NAMES[types[name].dtype],
                      hashlib.sha256(data).hexdigest(), file=f)


main(*sys.argv[1:])
