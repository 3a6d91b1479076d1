"""The other programs on the checkpoint of bench_infer_speed, which runs this; see there.

    infer_rival.py torch DIR WINDOWS LENGTH THREADS    CPU and wall seconds a window
    infer_rival.py gguf DIR TOKENIZER_DIR FILE         DIR for llama.cpp, weights in bf16

The first needs torch and transformers, the second gguf and numpy. What is timed of torch is what
scoring a window takes: the forward pass in bf16 and the cross entropy of its logits in f32, after
a short sequence to warm up.
"""

import json
import pathlib
import sys
import time


def run_torch(path, windows, length, threads):
    import torch
    import transformers

    torch.set_num_threads(threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16).eval()

    def score(ids):
        with torch.no_grad():
            logits = model(ids[None]).logits[0, :-1]
            return torch.nn.functional.cross_entropy(logits.float(), ids[1:])

    torch.manual_seed(1)
    ids = torch.randint(0, model.config.vocab_size, (windows, length))
    score(ids[0, :64])
    cpu, wall = time.process_time(), time.monotonic()
    for window in ids:
        score(window)
    print((time.process_time() - cpu) / windows, (time.monotonic() - wall) / windows)


NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_name(name):
    name = name.removesuffix(".weight")
    if name in ("model.embed_tokens", "model.norm", "lm_head"):
        ends = {"model.embed_tokens": "token_embd", "model.norm": "output_norm"}
        return ends.get(name, "output") + ".weight"
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{NAMES[rest]}.weight"


def add_tokenizer(writer, path, vocab):
    import gguf

    model = json.loads((path / "tokenizer.json").read_text())["model"]
    tokens = [f"[PAD{i}]" for i in range(vocab)]
    types = [gguf.TokenType.UNUSED] * vocab
    for token, i in model["vocab"].items():
        tokens[i], types[i] = token, gguf.TokenType.NORMAL
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_add_bos_token(False)


def write_gguf(path, tokenizer, out):
    import gguf
    import numpy as np

    config = json.loads((path / "config.json").read_text())
    writer = gguf.GGUFWriter(out, config["model_type"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    add_tokenizer(writer, tokenizer, config["vocab_size"])
    for file in sorted(path.glob("model*.safetensors")):
        data = np.memmap(file, np.uint8, "r")
        size = 8 + int.from_bytes(data[:8].tobytes(), "little")
        for name, entry in json.loads(data[8:size].tobytes()).items():
            if name == "__metadata__":
                continue
            begin, end = (size + offset for offset in entry["data_offsets"])
            values = data[begin:end].view(np.uint16).reshape(entry["shape"])
            if values.ndim == 1:  # llama.cpp wants norms in f32
                wide = (values.astype(np.uint32) << 16).view(np.float32)
                writer.add_tensor(gguf_name(name), wide)
            else:
                kind = gguf.GGMLQuantizationType.BF16
                raw = values.view(np.uint8).reshape(values.shape[0], -1)
                writer.add_tensor(gguf_name(name), raw, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if sys.argv[1] == "torch":
    run_torch(sys.argv[2], *map(int, sys.argv[3:6]))
else:
    write_gguf(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), sys.argv[4])
