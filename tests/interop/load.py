"""Stock mlx_lm loads what we wrote, computes what transformers computes, and generates."""

import json
import shutil

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import torch
import transformers
from mlx.utils import tree_map, tree_map_with_path
from mlx_lm import generate, load

import common
import models
from common import SHARED, attempt, check, quantize

TOKENS = [[5, 17, 201, 99, 3, 250, 44, 8, 120, 77]]
MIXED = [
    "--method", "uniform", "--bits", "4", "--group", "128",
    "--set", "(down_proj|w2)=6g32", "--set", "(k_proj|kv_b_proj)=8g64", "--set", "(up_proj|w3)=3g64",
    "--set", "layers.1.*(gate_proj|w1|o_proj)=16", "--set", "embed_tokens=5g32",
]  # fmt: skip

BIASES = dict(attention_bias=True, mlp_bias=True)
ALPHA = dict(rope_type="dynamic", rope_theta=10000.0, alpha=100.0, factor=1.0)
NO_WINDOW = dict(
    sliding_window=None, sliding_window_pattern=None, layer_types=["full_attention"] * 3
)

# kind, what is odd about it
VARIANTS = [
    ("llama", dict()),
    ("llama", dict(tie_word_embeddings=True, dtype=torch.float16)),
    ("llama", dict(attention_bias=True, mlp_bias=True, dtype=torch.float32)),
    ("mistral", dict(hidden=192, num_attention_heads=6)),
    ("qwen2", dict(tie_word_embeddings=True)),
    ("qwen2", dict(hidden=160, num_attention_heads=5, num_key_value_heads=1)),
    ("qwen3", dict(tie_word_embeddings=True, spelling="transformers")),
    ("qwen3", dict(hidden=192, intermediate_size=352, shards="200KB")),
    ("qwen3_moe", dict(spelling="transformers")),
    ("qwen3_moe", dict(hidden=192, moe_intermediate_size=96, mlp_only_layers=[1])),
    ("glm4_moe", dict(mtp=True, num_nextn_predict_layers=1)),
    ("glm4_moe", dict(spelling="transformers", use_qk_norm=False, attention_bias=False)),
    ("glm4_moe_lite", dict(mtp=True, qk_nope_head_dim=96, num_nextn_predict_layers=1)),
    ("glm4_moe_lite", dict(spelling="transformers", q_lora_rank=None)),
    ("smollm3", dict()),
    ("smollm3", dict(spelling="transformers", tie_word_embeddings=False, **BIASES)),
    ("smollm3", dict(use_sliding_window=True, sliding_window=6)),
    ("olmo2", dict(hidden=192, num_attention_heads=6)),
    ("olmo2", dict(spelling="transformers", attention_bias=True, tie_word_embeddings=True)),
    ("olmo3", dict()),
    ("olmo3", dict(spelling="transformers", attention_bias=True)),
    ("seed_oss", dict()),
    ("seed_oss", dict(spelling="transformers", attention_out_bias=True, mlp_bias=True)),
    ("exaone4", dict()),
    ("exaone4", dict(spelling="transformers", sliding_window_pattern=3, layer_types=None)),
    ("exaone4", dict(tie_word_embeddings=True, **NO_WINDOW)),
    ("hunyuan_v1_dense", dict(rope_parameters=ALPHA, attention_bias=True)),
    ("hunyuan_v1_dense", dict(spelling="transformers", tie_word_embeddings=True)),
    ("ernie4_5", dict(use_bias=True)),
    ("ernie4_5", dict(spelling="transformers", tie_word_embeddings=False)),
    # All experts that there are: none is chosen by a rounding error.
    ("mixtral", dict(num_experts_per_tok=4)),
    ("minimax_m2", dict(spelling="transformers")),
    ("qwen2_moe", dict()),
    ("deepseek_v3", dict()),
    ("deepseek_v3", dict(spelling="transformers", q_lora_rank=None, attention_bias=True)),
    ("qwen3_next", dict(num_experts_per_tok=4)),
    ("qwen3_next", dict(spelling="transformers", mlp_only_layers=[1], attention_bias=True)),
    ("qwen3_5_text", dict(spelling="transformers")),
    ("qwen3_5_text", dict(spelling="transformers", tie_word_embeddings=True, attention_bias=True)),
    ("qwen3_5_moe_text", dict(spelling="transformers", num_experts_per_tok=4, linear_num_key_heads=1)),
]


def in_f32(model):
    """MLX's CPU back end multiplies stacks of experts only in f32; and f32 is what we compare."""

    def widen(value):
        return value.astype(mx.float32) if mx.issubdtype(value.dtype, mx.floating) else value

    model.update(tree_map(widen, model.parameters()))
    return model


def as_converted(model, dtype):
    """mlx_lm.convert casts what a source stores otherwise, routers in f32 for instance, to its
    config's torch_dtype."""
    may_cast = getattr(model, "cast_predicate", lambda _: True)

    def cast(path, value):
        floating = mx.issubdtype(value.dtype, mx.floating)
        return value.astype(getattr(mx, dtype)) if floating and may_cast(path) else value

    model.update(tree_map_with_path(cast, model.parameters()))
    return model


def logits_of(path, cast_to=None):
    model, _ = load(str(path))
    if cast_to:
        model = as_converted(model, cast_to)
    return np.array(in_f32(model)(mx.array(TOKENS)))


def reference(path):
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    with torch.no_grad():
        return model(torch.tensor(TOKENS)).logits.numpy()


def as_stock_knows_it(source):
    """mlx_lm has no name of its own for a text model alone: the same directory with that of the whole."""
    config = common.read_json(source / "config.json")
    if config["model_type"] == "qwen3_5_moe_text":
        return None  # experts one by one are unknown to its class
    if not config["model_type"].endswith("_text"):
        return source if "rope_theta" in config else None  # else stock cannot load it
    copy = common.fresh(f"load/{source.name}-stock")
    shutil.copytree(source, copy)
    config["model_type"] = config["model_type"].removesuffix("_text")
    (copy / "config.json").write_text(json.dumps(config))
    return copy


def close(name, ours, theirs, limit):
    worst = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    check(name, worst < limit, f"largest difference {worst:.2e} of the largest logit")


def modules_as_planned(name, model, out):
    """Bits and group of every module that mlx_lm built are those that ram.json tells."""
    planned = {
        entry["module"]: (entry["bits"], entry["group"])
        for entry in common.read_json(out / "ram.json")["tensors"]
        if entry["name"].endswith(".weight")
    }
    wrong = []
    for path, module in model.named_modules():
        if not hasattr(module, "bits"):
            continue
        if planned.pop(path, None) != (module.bits, module.group_size):
            wrong.append(path)
    wrong += [path for path, (bits, _) in planned.items() if bits != 16]
    check(name, not wrong, f"{wrong[:5]}")


def speaks(name, model, tokenizer):
    text = generate(model, tokenizer, prompt="hello", max_tokens=8)
    check(name, isinstance(text, str), repr(text))


def plain(label, source):
    """Nothing quantised: the loaded model is transformers' model."""
    out = quantize(source, f"load/{label}-16", "--method", "uniform", "--set", ".=16")
    ours, theirs = logits_of(out), reference(source)
    source_config = transformers.AutoConfig.from_pretrained(source).to_dict()
    # mlx_lm gives the norms of MLA's latents another eps (1e-5) than transformers does (1e-6).
    # That of deepseek_v3 multiplies by the latent in another order, which rounds otherwise.
    limit = dict(glm4_moe_lite=2e-4, deepseek_v3=5e-5).get(source_config["model_type"], 2e-5)
    # mlx_lm holds 1 + w of these models' norms, which rounds in bf16.
    gains = source_config["model_type"].startswith(("qwen3_next", "qwen3_5"))
    limit = 1e-2 if gains else limit
    close(f"load {label} 16 bits, logits as transformers'", ours, theirs, limit)
    stored, stock = common.read_json(source / "config.json"), as_stock_knows_it(source)
    if stock:
        worst = float(np.abs(ours - logits_of(stock, stored.get("torch_dtype"))).max())
        check(f"load {label} 16 bits, logits as mlx_lm's of the source", worst == 0, f"{worst:.1e}")
    if gains:
        return  # transformers would add 1 once more
    our_config = transformers.AutoConfig.from_pretrained(out).to_dict()
    source_config.pop("_name_or_path")
    # exaone4's windows are told in letters, for mlx_lm, beside layer_types.
    skip = "sliding_window_pattern"
    keys = [k for k in source_config if source_config[k] != our_config.get(k) and k != skip]
    check(f"load {label} config as transformers reads it", not keys, f"{keys}")
    experts = ("num_experts", "num_local_experts", "n_routed_experts")
    if not any(key in source_config for key in experts):  # their stacks have mlx_lm's names
        close(f"load {label} 16 bits in transformers", reference(out), theirs, 1e-6)


def mixed(label, source):
    out = quantize(source, f"load/{label}-mixed", *MIXED)
    model, tokenizer = load(str(out))
    modules_as_planned(f"load {label} mixed, widths as planned", model, out)
    speaks(f"load {label} mixed, generates", in_f32(model), tokenizer)
    shards = quantize(source, f"load/{label}-shards", *MIXED, "--shard-size", "100kB")
    a, b = common.tensors(out), common.tensors(shards)
    check(f"load {label} mixed, shards hold the same", a == b and len(list(shards.glob("model-*"))) > 1)
    load(str(shards))


def eight(label, source):
    """8 bits are close enough to compare logits through all of the quantised paths."""
    out = quantize(source, f"load/{label}-8", "--method", "uniform", "--bits", 8, "--group", 32)
    close(f"load {label} 8 bits, logits near transformers'", logits_of(out), reference(source), 0.05)


def auto(label, source, *options):
    """As `ram quantize` does it by itself, or with other options."""
    out = quantize(source, f"load/{label}-auto", *options)
    model, tokenizer = load(str(out))
    modules_as_planned(f"load {label} auto, widths as planned", model, out)
    speaks(f"load {label} auto, generates", in_f32(model), tokenizer)


def run():
    known = set()
    for i, (kind, extra) in enumerate(VARIANTS):
        label = f"{kind}-{i}"
        source = models.make(kind, f"load-{label}", **extra)
        for part in (plain, mixed, eight):
            attempt(f"load {label} {part.__name__}", part, label, source)
        # The loader does not see how widths were found: one model of a family takes the long way.
        attempt(f"load {label} auto", auto, label, source, *(["--effort", "fast"] if kind in known else []))
        known.add(kind)
    for name in ("tiny-qwen3", "ref-qwen3-moe", "ref-glm4-moe-lite"):
        source = SHARED / "models" / name
        if source.exists():
            for part in (plain, mixed, auto):
                attempt(f"load {name} {part.__name__}", part, name, source)
