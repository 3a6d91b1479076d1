"""A checkpoint quantised by stock mlx_lm with real calibration text.

    python rival.py METHOD MODEL TEXT OUT [name=value ...]

METHOD is gptq, dynamic, awq or dwq. The functions of mlx_lm.quant are called with the defaults of
their commands. They read TEXT where they look for calibration data: as
~/.cache/mlx-lm/calibration_v5.txt, and dwq as a data set with one column `text`. Two things
differ, both in favour of mlx_lm: activations and moments are computed in float32 instead of the
checkpoint's bfloat16 (which is also many times faster on a processor), and OUT is cast back to
bfloat16 at the end. Settings that would take hours on a processor are options: awq's samples, and
dwq's epochs and rate (the default of its command, 1e-6, is meant for 512 steps).
"""

import copy
import json
import os
import pathlib
import sys

method, model_path, text, out = sys.argv[1:5]
settings = dict(pair.split("=") for pair in sys.argv[5:])
home = pathlib.Path(out).resolve().parent / f"home-{pathlib.Path(out).name}"
text = pathlib.Path(text).resolve()
(home / ".cache/mlx-lm").mkdir(parents=True, exist_ok=True)
(home / ".cache/mlx-lm/calibration_v5.txt").write_bytes(text.read_bytes())
os.environ |= {"HOME": str(home), "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}

import mlx.core as mx  # noqa: E402
import mlx.nn as nn  # noqa: E402
import mlx.optimizers as optimizers  # noqa: E402
import numpy as np  # noqa: E402
from mlx_lm.models.mla import QuantizedMultiLinear  # noqa: E402
from mlx_lm.models.switch_layers import QuantizedSwitchLinear, SwitchLinear  # noqa: E402
from mlx_lm.quant import awq, dwq, dynamic_quant, gptq  # noqa: E402
from mlx_lm.quant.utils import load_data  # noqa: E402
from mlx_lm.utils import load, quantize_model, save  # noqa: E402

SEED = 123  # of all four commands
LENGTH = 512
WIDTH = {"bits": 4, "group_size": 64}


def number(name, default):
    return type(default)(settings.get(name, default))


def by_gptq(model, tokenizer, config):
    data = load_data(tokenizer, -1, LENGTH)
    model, config["quantization"] = gptq.gptq_quantize(
        model, data, number("bits", 4), number("group", 64), number("fallback_bits", 6), 64
    )
    return model, config


def by_dynamic_quant(model, tokenizer, config):
    data = load_data(tokenizer, -1, LENGTH)
    widths = (4, 64, 5, 64)
    sensitivities = dict(dynamic_quant.estimate_sensitivities(model, data, *widths))
    target = number("target", 5.0)
    model, _ = load(model_path)  # as it is stored: its size counts, and how its weights are rounded
    threshold = dynamic_quant.estimate_threshold(model, sensitivities, target, *widths)

    def choose(path, module):
        if not hasattr(module, "to_quantized"):
            return False
        return {"bits": 5, "group_size": 64} if sensitivities[path] > threshold else True

    return quantize_model(model, config, quant_predicate=choose, **WIDTH)


def by_awq(model, tokenizer, config):
    kind = config["model_type"]
    if kind not in awq.AWQ_MODEL_CONFIGS:
        raise NotImplementedError(f"AWQ support for {kind} models NYI.")  # as its command says it
    data = load_data(tokenizer, number("samples", 128), LENGTH)
    awq.awq_quantize(model, data, awq.AWQ_MODEL_CONFIGS[kind], **WIDTH)
    return model, awq.update_config(model, config)


def dense_products():
    """mlx's quantised and gathered products are 20 times slower than its float ones on a
    processor: weights are decoded, by the same formula, and every expert is multiplied with all
    rows, of which those that did not choose it are left out."""

    def decoded(m):
        ones, zeros = mx.ones_like(m.scales), mx.zeros_like(m.scales)
        how = {"group_size": m.group_size, "bits": m.bits}
        codes = mx.stop_gradient(mx.dequantize(m.weight, ones, zeros, **how))
        codes = mx.unflatten(codes, -1, (m.scales.shape[-1], -1))
        return (codes * m.scales[..., None] + m.biases[..., None]).flatten(-2, -1)

    def switch(x, weight, indices):
        rows = x.squeeze(-2)
        chosen = [indices == expert for expert in range(weight.shape[0])]
        parts = (mx.where(c[..., None], rows @ w.T, 0) for c, w in zip(chosen, weight))
        return mx.expand_dims(sum(parts), -2)

    def multi(m, x, transpose=True):
        weight = decoded(m)
        return x @ (weight.swapaxes(-1, -2) if transpose else weight)

    nn.QuantizedLinear.__call__ = lambda m, x: x @ decoded(m).T
    nn.QuantizedEmbedding.__call__ = lambda m, x: decoded(m)[x]
    nn.QuantizedEmbedding.as_linear = lambda m, x: x @ decoded(m).T
    QuantizedMultiLinear.__call__ = multi
    QuantizedSwitchLinear.__call__ = lambda m, x, i, sorted_indices=False: switch(x, decoded(m), i)
    SwitchLinear.__call__ = lambda m, x, i, sorted_indices=False: switch(x, m.weight, i)


def by_dwq(model, tokenizer, config):
    """The text in pieces of `length` tokens, each an example; the last ones validate."""
    length = number("length", 512)
    ids = tokenizer.encode(text.read_text())
    pieces = [(ids[i : i + length], 0) for i in range(0, len(ids) - length, length)]
    np.random.seed(SEED)
    pieces = [pieces[i] for i in np.random.permutation(len(pieces))]
    n_valid = max(4, len(pieces) // 16)
    train = pieces[n_valid:][: number("samples", 2048)] * number("epochs", 1)
    dense_products()
    student, config = quantize_model(copy.deepcopy(model), config, **WIDTH)
    dwq.dwq_quantize(
        student,
        lambda batch, index, split: model(batch),
        optimizers.Adam(learning_rate=number("rate", 1e-6), bias_correction=True),
        train,
        pieces[:n_valid],
        batch_size=4,
        max_seq_length=length,
        seed=SEED,
        dtype=mx.float32,
    )
    return student, config


mx.random.seed(SEED)
model, tokenizer, config = load(model_path, return_config=True)
model.set_dtype(mx.float32)
run = {"gptq": by_gptq, "dynamic": by_dynamic_quant, "awq": by_awq, "dwq": by_dwq}[method]
model, config = run(model, tokenizer, config)
model.set_dtype(mx.bfloat16)
save(out, model_path, model, tokenizer, config)
