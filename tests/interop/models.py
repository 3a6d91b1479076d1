"""Small random checkpoints of every architecture, made by transformers itself."""

import json

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers import models as tokenizer_models

from common import fresh, read_json

transformers.utils.logging.disable_progress_bar()

VOCAB = 517  # odd on purpose: no row count here is a multiple of anything


def config(kind, hidden=128, **extra):
    """A configuration whose rows every group divides, if hidden is a multiple of 128."""
    common = dict(
        vocab_size=VOCAB,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=0,
    )
    experts = dict(moe_intermediate_size=hidden, num_experts_per_tok=2)
    heads = dict(head_dim=32)
    glm = dict(
        n_routed_experts=4, n_shared_experts=1, n_group=1, topk_group=1, first_k_dense_replace=1
    )
    latent = dict(
        q_lora_rank=128,
        kv_lora_rank=128,
        qk_nope_head_dim=128,
        qk_rope_head_dim=32,
        v_head_dim=64,
        num_key_value_heads=4,
    )
    delta = dict(
        num_hidden_layers=4,
        linear_num_key_heads=2,
        linear_num_value_heads=4,
        linear_key_head_dim=32,
        linear_value_head_dim=32,
    )
    shared = dict(num_experts=4, shared_expert_intermediate_size=hidden)
    classes = {
        "llama": (transformers.LlamaConfig, {}),
        "mistral": (transformers.MistralConfig, {}),
        "qwen2": (transformers.Qwen2Config, {}),
        "qwen3": (transformers.Qwen3Config, heads),
        "qwen3_moe": (transformers.Qwen3MoeConfig, heads | experts | dict(num_experts=4)),
        "glm4_moe": (
            transformers.Glm4MoeConfig,
            heads
            | experts
            | glm
            | dict(use_qk_norm=True, attention_bias=True, partial_rotary_factor=0.5),
        ),
        "glm4_moe_lite": (transformers.Glm4MoeLiteConfig, experts | glm | latent),
        # Of three layers, the last has no rope.
        "smollm3": (transformers.SmolLM3Config, dict(no_rope_layer_interval=3)),
        "olmo2": (transformers.Olmo2Config, {}),
        # Three layers see a window, the fourth sees everything; tests use longer texts.
        "olmo3": (transformers.Olmo3Config, dict(num_hidden_layers=4, sliding_window=6)),
        "seed_oss": (transformers.SeedOssConfig, heads),
        "exaone4": (
            transformers.Exaone4Config,
            heads
            | dict(
                sliding_window=6,
                sliding_window_pattern="LLG",
                layer_types=["sliding_attention", "sliding_attention", "full_attention"],
            ),
        ),
        "ernie4_5": (transformers.Ernie4_5Config, heads),
        "mixtral": (transformers.MixtralConfig, dict(num_local_experts=4, num_experts_per_tok=2)),
        "minimax_m2": (
            transformers.MiniMaxM2Config,
            heads | dict(num_local_experts=4, num_experts_per_tok=2, rotary_dim=16),
        ),
        "qwen2_moe": (transformers.Qwen2MoeConfig, experts | shared),
        "deepseek_v3": (transformers.DeepseekV3Config, experts | glm | latent),
        # Three layers have a delta rule, the fourth has attention.
        "qwen3_next": (transformers.Qwen3NextConfig, heads | experts | delta | shared),
        "qwen3_5_text": (transformers.Qwen3_5TextConfig, heads | delta),
        "qwen3_5_moe_text": (transformers.Qwen3_5MoeTextConfig, heads | experts | delta | shared),
        "hunyuan_v1_dense": (transformers.HunYuanDenseV1Config, heads | dict(use_qk_norm=True)),
    }
    cls, own = classes[kind]
    return cls(**(common | own | extra))


def add_tokenizer(path):
    """A byte-level tokenizer: the 256 bytes and two special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {"<pad>": 0, "<eos>": 1} | {c: i + 2 for i, c in enumerate(alphabet)}
    tokenizer = Tokenizer(tokenizer_models.BPE(vocab, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>"
    ).save_pretrained(path)


def publish(path):
    """config.json as the publishers spell it, which is all that stock mlx_lm reads."""
    file = path / "config.json"
    config = read_json(file)
    rope = config.pop("rope_parameters", {})
    rope = rope.get("full_attention", rope)  # olmo3 has one for each kind of layer
    config.setdefault("rope_theta", rope.get("rope_theta", 10000.0))
    kind = rope.get("rope_type", "default")
    scaling = {key: rope[key] for key in rope if key not in ("rope_theta", "partial_rotary_factor")}
    config.setdefault("rope_scaling", None if kind == "default" else scaling | dict(type=kind))
    if "partial_rotary_factor" in rope:
        config.setdefault("partial_rotary_factor", rope["partial_rotary_factor"])
    if "num_local_experts" in config and config["model_type"] not in ("mixtral", "minimax_m2"):
        config.setdefault("num_experts", config.pop("num_local_experts"))
    if "dtype" in config:
        config["torch_dtype"] = config.pop("dtype")
    file.write_text(json.dumps(config, indent=2))


def add_mtp(path, layer):
    """The tensors of a multi-token prediction layer, which every loader must leave out."""
    file = path / "model.safetensors"
    with safe_open(file, "pt") as source:
        tensors = {name: source.get_tensor(name) for name in source.keys()}
    hidden = tensors["model.norm.weight"].shape[0]
    last = f"model.layers.{layer - 1}."
    mtp = f"model.layers.{layer}."
    for name in [name for name in tensors if name.startswith(last)]:
        tensors[mtp + name[len(last) :]] = tensors[name].clone()
    like = tensors["model.norm.weight"]
    tensors[mtp + "eh_proj.weight"] = torch.randn(hidden, 2 * hidden).to(like.dtype)
    for name in ("enorm", "hnorm", "shared_head.norm"):
        tensors[mtp + name + ".weight"] = like.clone()
    tensors[mtp + "embed_tokens.weight"] = tensors["model.embed_tokens.weight"].clone()
    tensors[mtp + "shared_head.head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, file, metadata={"format": "pt"})


def make(kind, name, dtype=torch.bfloat16, spelling="published", mtp=False, shards=None, **extra):
    """A checkpoint with weights of trained-like size (norms away from 1, routers with a bias)."""
    path = fresh(f"sources/{name}")
    torch.manual_seed(sum(map(ord, name)))
    model = transformers.AutoModelForCausalLM.from_config(config(kind, **extra), dtype=dtype)
    with torch.no_grad():
        for key, value in model.named_parameters():
            if value.dim() == 1:
                value.add_(torch.randn_like(value) * 0.1)
        for key, value in model.named_buffers():
            if key.endswith("e_score_correction_bias"):
                value.copy_(torch.randn_like(value) * 0.1)
    model.save_pretrained(path, **({"max_shard_size": shards} if shards else {}))
    if mtp:
        add_mtp(path, model.config.num_hidden_layers)
    if spelling == "published":
        publish(path)
    add_tokenizer(path)
    return path
