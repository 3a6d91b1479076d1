"""Every token's negative log-likelihood beside transformers' and mlx_lm's, all in f32.

Random checkpoints of every architecture and of what may vary in it, floats of every type, FP8, and
quantised ones of ours and of mlx_lm.convert: `ram evaluate --precision f32 --log-samples` tells the
NLL of each token, and no token may be further off than the limit.
"""

import json
import pathlib
import shutil

import mlx.core as mx
import numpy as np
import torch
import transformers
from mlx_lm import convert, load
from safetensors.torch import load_file, save_file

import common
import models
from common import SHARED, attempt, check
from load import ALPHA, MIXED, NO_WINDOW, in_f32

LENGTH = 160  # tokens of a window; half as many again are no window any more
TEXT = (pathlib.Path(__file__).parent / "models.py").read_text()[: 4 * LENGTH]
AGAINST_TRANSFORMERS = 1e-4  # nats a token
AGAINST_MLX = 1e-3
WEIGHTS = 0.12  # standard deviation: with transformers' 0.02 every guess is as good as any other
SPREAD = 0.5  # nats by which tokens' NLLs differ at least, lest nothing is seen of an error

LLAMA3 = dict(
    rope_type="llama3", rope_theta=5e5, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
    original_max_position_embeddings=64,
)  # fmt: skip
YARN = dict(
    rope_type="yarn", rope_theta=1e4, factor=4.0, original_max_position_embeddings=64
)
LATENT_YARN = YARN | dict(mscale=1.0, mscale_all_dim=0.8, beta_fast=16.0, beta_slow=2.0)
GROUPS = dict(n_routed_experts=16, n_group=4, topk_group=2, num_experts_per_tok=3)

# What mlx_lm has not, or does otherwise than transformers: some layers with windows and some without,
# windows without use_sliding_window; biases of qwen3; MLA whose rotary pairs are not neighbours; YaRN
# whose range of dimensions is not in whole numbers.
NOT_IN_MLX = ("sliding_window", "rope_interleave", "truncate")

# kind, what is odd about it
VARIANTS = [
    ("llama", dict()),
    ("llama", dict(rope_parameters=LLAMA3, tie_word_embeddings=True)),
    ("llama", dict(rope_parameters=YARN, num_key_value_heads=1, dtype=torch.float16)),
    ("llama", dict(rope_parameters=YARN | dict(attention_factor=1.3))),
    ("llama", dict(rope_parameters=YARN | dict(truncate=False))),
    ("llama", dict(rope_parameters=dict(rope_type="linear", rope_theta=1e4, factor=3.0))),
    ("llama", dict(attention_bias=True, mlp_bias=True, dtype=torch.float32)),
    ("llama", dict(head_dim=48, rms_norm_eps=1e-3)),
    ("mistral", dict(sliding_window=None, hidden=192, num_attention_heads=6)),
    ("mistral", dict(sliding_window=37)),
    ("qwen2", dict(tie_word_embeddings=True)),
    ("qwen2", dict(use_sliding_window=True, sliding_window=29, max_window_layers=1)),
    ("qwen3", dict(tie_word_embeddings=True, spelling="transformers")),
    ("qwen3", dict(attention_bias=True, rope_parameters=YARN)),
    ("qwen3", dict(use_sliding_window=True, sliding_window=50, max_window_layers=2)),
    ("qwen3_moe", dict(norm_topk_prob=True, spelling="transformers")),
    ("qwen3_moe", dict(mlp_only_layers=[1], num_experts=9, num_experts_per_tok=4)),
    ("qwen3_moe", dict(decoder_sparse_step=2, use_sliding_window=True, sliding_window=41)),
    ("glm4_moe", dict(mtp=True, num_nextn_predict_layers=1, routed_scaling_factor=2.5)),
    ("glm4_moe", dict(spelling="transformers", use_qk_norm=False, attention_bias=False)),
    ("glm4_moe", dict(n_shared_experts=2, partial_rotary_factor=0.25, norm_topk_prob=False) | GROUPS),
    ("glm4_moe_lite", dict(mtp=True, qk_nope_head_dim=96, num_nextn_predict_layers=1)),
    ("glm4_moe_lite", dict(spelling="transformers", q_lora_rank=None, rope_interleave=False)),
    ("glm4_moe_lite", dict(rope_parameters=LATENT_YARN, attention_bias=True) | GROUPS),
    ("smollm3", dict(rope_parameters=LLAMA3)),
    ("olmo2", dict(rope_parameters=YARN, attention_bias=True)),
    ("olmo3", dict(spelling="transformers")),
    ("seed_oss", dict(attention_out_bias=True, mlp_bias=True)),
    ("exaone4", dict(rope_parameters=LLAMA3)),
    ("exaone4", dict(tie_word_embeddings=True, **NO_WINDOW)),
    ("hunyuan_v1_dense", dict(rope_parameters=ALPHA, attention_bias=True)),
    ("ernie4_5", dict(use_bias=True)),
    ("mixtral", dict(spelling="transformers")),
    ("minimax_m2", dict(spelling="transformers")),
    ("qwen2_moe", dict()),
    ("deepseek_v3", dict(rope_parameters=LATENT_YARN) | GROUPS),
    ("qwen3_next", dict(full_attention_interval=2, linear_value_head_dim=48)),
    ("qwen3_5_text", dict(spelling="transformers", linear_conv_kernel_dim=3)),
    ("qwen3_5_moe_text", dict(spelling="transformers", num_experts_per_tok=3)),
]  # fmt: skip


def ours(model, text, length, windows=4):
    """Tokens [windows, length] and NLLs [windows, length - 1] by ram evaluate."""
    log = common.fresh("nll/samples.jsonl")
    common.ram(
        "evaluate", model, "--task", "text", "--data", text, "--seq-len", length,
        "--limit", windows, "--precision", "f32", "--log-samples", log, "-q",
    )  # fmt: skip
    samples = [json.loads(line) for line in log.read_text().splitlines()]
    return (np.array([sample[key] for sample in samples]) for key in ("tokens", "nll"))


def by_transformers(model, tokens):
    model = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    model.eval()
    with torch.no_grad():
        ids = torch.tensor(tokens)
        logits = torch.cat([model(row[None]).logits for row in ids])
        chosen = logits[:, :-1].double().log_softmax(-1).gather(2, ids[:, 1:, None])
    return -chosen[..., 0].numpy()


def by_mlx(model, tokens):
    ids = mx.array(tokens)
    model = in_f32(load(str(model))[0])
    logits = torch.tensor(np.array(model(ids)))
    chosen = logits[:, :-1].double().log_softmax(-1).gather(2, torch.tensor(tokens)[:, 1:, None])
    return -chosen[..., 0].numpy()


def compare(label, model, theirs, limit, text, length=LENGTH):
    """theirs: a function of model directory and tokens, or one that needs only the tokens."""
    tokens, nll = ours(model, text, length)
    expected = theirs(model, tokens)
    worst, spread = float(np.abs(nll - expected).max()), float(expected.std())
    label = f"nll {label}, {nll.size} tokens (largest difference {worst:.1e})"
    check(label, worst <= limit and spread > SPREAD, f"limit {limit}, spread {spread:.2f}")


def floats(label, source, text):
    compare(f"{label} beside transformers", source, by_transformers, AGAINST_TRANSFORMERS, text)


def quantised(label, source, text):
    out = common.quantize(source, f"nll/{label}-mixed", *MIXED)
    compare(f"{label} quantised beside mlx_lm", out, by_mlx, AGAINST_MLX, text)


def fp8(text):
    """Blocks of 128 x 128 with scales, as DeepSeek and Qwen publish: worth what the floats mean."""
    plain = models.make("qwen3", "nll-fp8-plain", dtype=torch.float32, initializer_range=WEIGHTS)
    coded = common.fresh("nll/fp8")
    shutil.copytree(plain, coded)
    tensors, meant = load_file(plain / "model.safetensors"), {}
    for name in list(tensors):
        weight = meant[name] = tensors[name]
        if not name.endswith("_proj.weight"):
            continue
        rows, cols = ((n + 127) // 128 for n in weight.shape)
        padded = torch.zeros(rows * 128, cols * 128)
        padded[: weight.shape[0], : weight.shape[1]] = weight
        blocks = padded.view(rows, 128, cols, 128)
        scale = blocks.abs().amax((1, 3)).clamp(min=1e-12) / 448
        codes = (blocks / scale[:, None, :, None]).to(torch.float8_e4m3fn)
        codes = codes.view(rows * 128, cols * 128)[: weight.shape[0], : weight.shape[1]]
        wide = scale.repeat_interleave(128, 0).repeat_interleave(128, 1)
        tensors[name] = codes.contiguous()
        tensors[name.replace(".weight", ".weight_scale_inv")] = scale
        meant[name] = codes.float() * wide[: weight.shape[0], : weight.shape[1]]
    save_file(tensors, coded / "model.safetensors", metadata={"format": "pt"})
    save_file(meant, plain / "model.safetensors", metadata={"format": "pt"})
    config = common.read_json(coded / "config.json")
    config["quantization_config"] = dict(
        quant_method="fp8", fmt="e4m3", activation_scheme="dynamic", weight_block_size=[128, 128]
    )
    (coded / "config.json").write_text(json.dumps(config))
    compare(
        "qwen3 in FP8 beside transformers on its floats",
        coded,
        lambda _, tokens: by_transformers(plain, tokens),
        AGAINST_TRANSFORMERS,
        text,
    )


def foreign(text):
    """What mlx_lm.convert wrote: affine is run, its other codes are refused by name."""
    for kind in ("qwen3_moe", "glm4_moe_lite"):
        source = models.make(kind, f"nll-foreign-{kind}", initializer_range=WEIGHTS)
        for bits, group in ((4, 64), (6, 32)):
            out = common.fresh(f"nll/convert-{kind}-{bits}")
            convert(str(source), str(out), quantize=True, q_bits=bits, q_group_size=group)
            label = f"{kind} by mlx_lm.convert, {bits} bits in groups of {group}"
            compare(f"{label}, beside mlx_lm", out, by_mlx, AGAINST_MLX, text)
    out = common.fresh("nll/convert-mxfp4")
    convert(str(source), str(out), quantize=True, q_mode="mxfp4")
    try:
        ours(out, text, LENGTH)
        message = "accepted"
    except RuntimeError as error:
        message = str(error)
    check("nll mxfp4 is refused", "mxfp4" in message and "exit 3" in message, message)


def shared(name, wikitext):
    source = SHARED / "models" / name
    label = f"{name} on WikiText-2"
    limit, length = AGAINST_TRANSFORMERS, 512
    compare(f"{label} beside transformers", source, by_transformers, limit, wikitext, length)
    out = common.quantize(source, f"nll/{name}-v2", "--method", "v2")
    compare(f"{label}, v2, beside mlx_lm", out, by_mlx, AGAINST_MLX, wikitext, length)


def run():
    text = common.fresh("nll/text")
    text.write_text(TEXT)
    for i, (kind, extra) in enumerate(VARIANTS):
        label = f"{kind}-{i}"
        try:
            extra = dict(initializer_range=WEIGHTS) | extra
            source = models.make(kind, f"nll-{label}", **extra)
        except Exception as error:
            check(f"nll {label}", False, f"cannot be made: {error}")
            continue
        attempt(f"nll {label} floats", floats, label, source, text)
        biased = kind == "qwen3" and "attention_bias" in extra
        said = extra | extra.get("rope_parameters", {})
        if not biased and not any(said.get(key) is not None for key in NOT_IN_MLX):
            attempt(f"nll {label} quantised", quantised, label, source, text)
    attempt("nll fp8", fp8, text)
    attempt("nll foreign", foreign, text)
    wikitext = SHARED / "data" / "wikitext2" / "wiki.test.raw"
    for name in ("tiny-qwen3", "ref-qwen3-moe", "ref-glm4-moe-lite"):
        if wikitext.exists() and (SHARED / "models" / name).exists():
            attempt(f"nll {name}", shared, name, wikitext)
        else:
            print(f"SKIP nll {name}: it or {wikitext} is not there")
