"""Makes the golden logits and gradients in this directory: what transformers computes in f32 for
small checkpoints.

usage: make.py [NAME ...]     in an environment with transformers, torch and safetensors, such as the
                               one of tests/interop/run.sh; without names, all are made

A new case is a row of CASES. Files that were there before must not change when they are made again.

Each NAME.json holds a configuration as published, the names and shapes of the tensors, a law that
gives every weight from its tensor's name and index in whole numbers (so that no weights need to be
stored, and every weight is exact in bf16), token sequences, some logits of each sequence, and of the
gradient of every matrix its norm and its product with a matrix of random signs; the loss is the sum of
-log p(next token), and a sequence's last token is followed by its first.
tests/golden/infer_logits.c and infer_gradients.c make the same checkpoint and compare.
"""

import json
import math
import pathlib
import sys
import tempfile

import numpy as np
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
VOCAB, LENGTH, SEQUENCES = 257, 48, 2
POSITIONS = [0, 1, 6, 20, 47]
COLUMNS = list(range(0, VOCAB, 8))

COMMON = dict(
    vocab_size=VOCAB,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    rms_norm_eps=1e-5,
    rope_theta=10000.0,
    hidden_act="silu",
    tie_word_embeddings=False,
    torch_dtype="bfloat16",
)
HEAD = dict(head_dim=16)
QWEN_MOE = HEAD | dict(num_experts=6, num_experts_per_tok=2, moe_intermediate_size=32)
GLM_MOE = dict(
    n_routed_experts=8, n_shared_experts=1, num_experts_per_tok=3, moe_intermediate_size=32,
    first_k_dense_replace=1, n_group=1, topk_group=1, routed_scaling_factor=1.8, norm_topk_prob=True,
)  # fmt: skip
LATENT = GLM_MOE | dict(
    num_key_value_heads=4, q_lora_rank=48, kv_lora_rank=32, qk_nope_head_dim=24, qk_rope_head_dim=16,
    v_head_dim=20,
)  # fmt: skip
LLAMA3 = dict(
    rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
    original_max_position_embeddings=32,
)  # fmt: skip
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32)
ALPHA = dict(
    type="dynamic", alpha=1000.0, factor=1.0, beta_fast=32, beta_slow=1, mscale=1.0, mscale_all_dim=0.0
)
# Torch computes no gradient of a padding token's embedding, and some classes have one by themselves.
UNPADDED = dict(pad_token_id=None)
# Classes that add 1 to the weights of their norms.
ADDS_ONE = ("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text")
UNSAID = object()  # a key of COMMON that a configuration does not have, so that the class's own value counts


def layers(letters):
    """layer_types: s for a layer that sees a window, f for one that sees everything, l for a delta rule."""
    kinds = {"s": "sliding_attention", "f": "full_attention", "l": "linear_attention"}
    return [kinds[letter] for letter in letters]


SHARED_EXPERT = dict(
    num_experts=6, num_experts_per_tok=2, moe_intermediate_size=32, shared_expert_intermediate_size=40
)
LATENT_YARN = YARN | dict(mscale=1.0, mscale_all_dim=0.8)
# A larger epsilon: the norm behind the recurrence would make more of its rounding errors than we allow.
DELTA_NET = dict(
    num_hidden_layers=4, head_dim=24, linear_num_key_heads=2, linear_num_value_heads=4,
    linear_key_head_dim=32, linear_value_head_dim=24, linear_conv_kernel_dim=4, rms_norm_eps=1e-3,
)  # fmt: skip

# Name of the file, up to its first "-" the model_type: what its configuration has beside COMMON.
CASES = {
    "llama": dict(num_key_value_heads=4),
    "llama-llama3_tied": dict(rope_scaling=LLAMA3, tie_word_embeddings=True),
    "llama-biases_yarn": dict(attention_bias=True, mlp_bias=True, rope_scaling=YARN),
    "llama-linear_head": dict(rope_scaling=dict(rope_type="linear", factor=3.0), head_dim=24),
    "mistral": dict(sliding_window=17),
    "qwen2": dict(use_sliding_window=True, sliding_window=13, max_window_layers=1),
    "qwen3": HEAD | dict(rope_theta=1e6),
    "qwen3_moe": QWEN_MOE | dict(norm_topk_prob=True),
    "qwen3_moe-some_dense": QWEN_MOE | dict(norm_topk_prob=False, mlp_only_layers=[1]),
    "glm4_moe": HEAD | GLM_MOE | dict(use_qk_norm=True, attention_bias=True, partial_rotary_factor=0.5),
    "glm4_moe-groups": HEAD | GLM_MOE | dict(
        n_group=4, topk_group=2, n_shared_experts=2, norm_topk_prob=False, partial_rotary_factor=0.25
    ),
    "glm4_moe_lite": LATENT,
    "glm4_moe_lite-yarn_plain_q": LATENT | dict(
        q_lora_rank=None, rope_scaling=YARN | dict(mscale=1.0, mscale_all_dim=0.8)
    ),
    # Layer 3 has no rope.
    "smollm3": UNPADDED | dict(num_hidden_layers=5, rope_theta=5e6),
    "smollm3-listed_window": UNPADDED | dict(
        no_rope_layers=[0, 1, 0], use_sliding_window=True, sliding_window=13, attention_bias=True,
        mlp_bias=True, rope_theta=UNSAID, tie_word_embeddings=UNSAID,
    ),
    "olmo2": UNPADDED | dict(rope_theta=5e5),
    "olmo2-biases_tied": UNPADDED | dict(attention_bias=True, head_dim=24, tie_word_embeddings=True),
    "olmo3": UNPADDED | dict(num_hidden_layers=4, sliding_window=13, rope_theta=5e5, rope_scaling=YARN),
    "olmo3-two_ropes": UNPADDED | dict(
        sliding_window=17, layer_types=layers("fsf"), rope_theta=UNSAID, attention_bias=True,
        rope_parameters=dict(
            full_attention=LLAMA3 | dict(rope_theta=1e6),
            sliding_attention=dict(rope_type="default", rope_theta=1e4),
        ),
    ),
    "seed_oss": UNPADDED | dict(head_dim=24, rope_theta=1e7),
    "seed_oss-other_biases": UNPADDED | HEAD | dict(
        attention_bias=False, attention_out_bias=True, mlp_bias=True, tie_word_embeddings=True
    ),
    # Layer 3 sees everything and has no rope.
    "exaone4": UNPADDED | dict(
        num_hidden_layers=5, head_dim=24, sliding_window=13, sliding_window_pattern="LLLG",
        layer_types=layers("sssfs"), rope_theta=1e6, rope_scaling=LLAMA3,
    ),
    "exaone4-no_window_tied": UNPADDED | HEAD | dict(
        sliding_window=None, sliding_window_pattern=None, layer_types=layers("fff"), tie_word_embeddings=True
    ),
    "hunyuan_v1_dense": UNPADDED | dict(head_dim=24, attention_bias=True, rope_scaling=ALPHA),
    "hunyuan_v1_dense-tied": UNPADDED | HEAD | dict(use_qk_norm=True, tie_word_embeddings=True),
    "ernie4_5": UNPADDED | HEAD | dict(rope_theta=UNSAID, tie_word_embeddings=UNSAID),
    "ernie4_5-biases": UNPADDED | HEAD | dict(use_bias=True),
    "mixtral": UNPADDED | dict(num_local_experts=6, sliding_window=13, rope_theta=UNSAID),
    "mixtral-head_dim": UNPADDED | dict(num_local_experts=6, num_experts_per_tok=3, head_dim=24),
    "minimax_m2": UNPADDED | dict(
        head_dim=24, rotary_dim=12, num_local_experts=6, num_experts_per_tok=2, rope_theta=UNSAID
    ),
    "deepseek_v3": UNPADDED | LATENT | dict(
        n_group=4, topk_group=2, routed_scaling_factor=2.5, rope_scaling=LATENT_YARN
    ),
    "deepseek_v3-plain_q": UNPADDED | LATENT | dict(
        q_lora_rank=None, attention_bias=True, rope_interleave=False, norm_topk_prob=False,
        n_shared_experts=2,
    ),
    "qwen2_moe": UNPADDED | SHARED_EXPERT,
    "qwen2_moe-some_dense": UNPADDED | SHARED_EXPERT | dict(
        mlp_only_layers=[1], norm_topk_prob=True, qkv_bias=False, use_sliding_window=True,
        sliding_window=13, max_window_layers=2,
    ),
    "qwen3_next": UNPADDED | DELTA_NET | SHARED_EXPERT | dict(
        partial_rotary_factor=0.5, norm_topk_prob=True, full_attention_interval=4
    ),
    "qwen3_next-some_dense": UNPADDED | DELTA_NET | SHARED_EXPERT | dict(
        layer_types=layers("fllf"), mlp_only_layers=[2], attention_bias=True, norm_topk_prob=False, linear_num_value_heads=2,
    ),
    "qwen3_5": UNPADDED | DELTA_NET | dict(
        model_type="qwen3_5_text",
        rope_theta=UNSAID,
        rope_parameters=dict(
            rope_type="default", rope_theta=1e7, partial_rotary_factor=0.5, mrope_section=[2, 2, 2],
            mrope_interleaved=True,
        ),
    ),
    "qwen3_5_moe": UNPADDED | DELTA_NET | SHARED_EXPERT | dict(
        model_type="qwen3_5_moe_text", rope_theta=UNSAID, layer_types=layers("llfl"), attention_bias=True,
        intermediate_size=UNSAID, linear_conv_kernel_dim=3, linear_value_head_dim=20,
        rope_parameters=dict(rope_type="default", rope_theta=1e6),
    ),
}  # fmt: skip

# Parts of names: as they are stored, and as transformers 5 has them in memory.
HELD_AS = {
    ".block_sparse_moe.": ".mlp.", ".w1.": ".gate_proj.", ".w2.": ".down_proj.", ".w3.": ".up_proj."
}  # fmt: skip


def mix(z):
    """The last steps of SplitMix64, on an array of 64-bit numbers."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def law_of(kind, name, shape):
    """(offset, step, span): weight i is offset + step x (its random number mod (2 span + 1) - span)."""
    if len(shape) == 1:
        adds_one = kind in ADDS_ONE and not name.endswith("linear_attn.norm.weight")
        return (1.0 if "norm" in name and not adds_one else 0.0), 2.0**-6, 15
    return 0.0, 2.0 ** round(math.log2(1.2 / math.sqrt(shape[-1]) / 73)), 127


def random_numbers(name, shape):
    start = np.uint64(0xCBF29CE484222325)  # FNV-1a of the name
    for byte in name.encode():
        start = (start ^ np.uint64(byte)) * np.uint64(0x100000001B3)
    index = np.arange(1, math.prod(shape) + 1, dtype=np.uint64)
    return mix(start + index * np.uint64(0x9E3779B97F4A7C15)).reshape(shape)


def weights(name, shape, offset, step, span):
    drawn = random_numbers(name, shape) % np.uint64(2 * span + 1)
    values = offset + step * (drawn.astype(np.float64) - span)
    return torch.from_numpy(values.astype(np.float32))


def tokens():
    index = np.arange(1, SEQUENCES * LENGTH + 1, dtype=np.uint64)
    drawn = mix(index * np.uint64(0x9E3779B97F4A7C15)) % np.uint64(VOCAB)
    return torch.from_numpy(drawn.astype(np.int64).reshape(SEQUENCES, LENGTH))


def gradient_of(grads, name):
    """Of a tensor as it is stored; transformers 5 holds a layer's experts in one parameter."""
    for stored, held in HELD_AS.items():
        name = name.replace(stored, held)
    if name in grads:
        return grads[name]
    prefix, _, rest = name.partition(".experts.")
    expert, part, _ = rest.split(".")
    if part == "down_proj":
        return grads[f"{prefix}.experts.down_proj"][int(expert)]
    gate, up = grads[f"{prefix}.experts.gate_up_proj"][int(expert)].chunk(2)
    return gate if part == "gate_proj" else up


def gradients(model, ids, shapes):
    logits = model(ids).logits
    labels = ids.roll(-1, dims=1)
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum").backward()
    grads = {key: value.grad for key, value in model.named_parameters() if value.grad is not None}
    rows = []
    for name, shape in shapes.items():
        if len(shape) != 2:
            continue
        grad = gradient_of(grads, name).double().numpy()
        signs = np.where(random_numbers(name, shape) >> np.uint64(63), -1.0, 1.0)
        rows.append([name, float(f"{np.linalg.norm(grad):.7g}"), float(f"{(grad * signs).sum():.7g}")])
    return rows


def make(name):
    config = dict(model_type=name.split("-")[0]) | COMMON | CASES[name]
    config = {key: value for key, value in config.items() if value is not UNSAID}
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch)
        (path / "config.json").write_text(json.dumps(config))
        kind = transformers.AutoConfig.from_pretrained(path)
        model = transformers.AutoModelForCausalLM.from_config(kind, dtype=torch.bfloat16)
        config["architectures"] = [type(model).__name__]
        model.save_pretrained(path)
        with safe_open(path / "model.safetensors", "pt") as file:
            shapes = {key: file.get_slice(key).get_shape() for key in sorted(file.keys())}
        laws = {key: law_of(config["model_type"], key, shape) for key, shape in shapes.items()}
        made = {key: weights(key, shapes[key], *laws[key]).bfloat16() for key in shapes}
        save_file(made, path / "model.safetensors", metadata={"format": "pt"})
        (path / "config.json").write_text(json.dumps(config))
        model = transformers.AutoModelForCausalLM.from_pretrained(
            path, dtype=torch.float32, attn_implementation="eager"
        ).eval()
    ids = tokens()
    with torch.no_grad():
        logits = model(ids).logits[:, POSITIONS][:, :, COLUMNS]
    assert logits.std() > 0.3, "logits so even would not show an error"
    write(name, config, shapes, laws, ids, logits, gradients(model, ids, shapes))
    print(f"{name}: {logits.numel()} logits, standard deviation {logits.std():.2f}")


def write(name, config, shapes, laws, ids, logits, grads):
    def lines(items):
        return "[\n  " + ",\n  ".join(json.dumps(item) for item in items) + "\n ]"

    versions = f"transformers {transformers.__version__}, torch {torch.__version__}, f32"
    rows = [[float(f"{x:.7g}") for x in row] for sequence in logits.tolist() for row in sequence]
    parts = {
        "made_with": json.dumps(versions),
        "config": json.dumps(config),
        "tensors": lines([[key, shape, *laws[key]] for key, shape in shapes.items()]),
        "tokens": json.dumps(ids.tolist()),
        "positions": json.dumps(POSITIONS),
        "columns": json.dumps(COLUMNS),
        "logits": lines(rows),
        "gradients": lines(grads),
    }
    text = ",\n ".join(f'"{key}": {value}' for key, value in parts.items())
    (HERE / f"{name}.json").write_text("{" + text + "}\n")


if __name__ == "__main__":
    np.seterr(over="ignore")
    for wanted in sys.argv[1:] or CASES:
        make(wanted)
