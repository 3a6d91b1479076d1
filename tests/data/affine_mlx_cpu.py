"""Makes affine_mlx_cpu.txt: digests of what mlx.core.quantize gives on the CPU (its profile "cpu").

    pip install 'mlx[cpu]' && python affine_mlx_cpu.py > affine_mlx_cpu.txt

The weights are those of weights() in tests/unit/codec_affine.c. A line is: type, bits, group,
SHA-256 of codes + scales + biases (each row-major, little-endian).
"""
import hashlib

import mlx.core as mx
import numpy as np

ROWS, COLS = 64, 1152

state = np.empty(4 * ROWS * COLS, np.uint64)
x = 1
for i in range(state.size):
    x = (x * 6364136223846793005 + 1442695040888963407) % 2**64
    state[i] = x >> 33
bits = state.reshape(ROWS, COLS, 4)
w = ((bits & 255).sum(axis=2).astype(np.float32) - 510) * np.float32(2.0**-12)
for row in range(ROWS):
    kind = row % 8
    if kind == 1:
        w[row] = -np.abs(w[row]) - np.float32(2.0**-8)
    elif kind == 2:
        w[row] = np.abs(w[row])
    elif kind == 3:
        w[row] = np.rint(w[row] * 32) / 2
    elif kind == 4:
        w[row, 256:] = np.where(np.arange(COLS - 256) // 128 % 2, -0.75, 0.75)
        w[row, 512:768] = 0
    elif kind == 5:
        w[row, ::97] *= 64
    elif kind == 6:
        w[row] *= np.float32(2.0**-17)
    elif kind == 7:
        w[row] += (bits[row, :, 0] >> 8 & 65535).astype(np.float32) * np.float32(2.0**-28)

mx.set_default_device(mx.cpu)
print("# mlx", mx.__version__, "on", mx.default_device())
for name, dtype in ("bf16", mx.bfloat16), ("f16", mx.float16), ("f32", mx.float32):
    for n_bits in 2, 3, 4, 5, 6, 8:
        for group in 32, 64, 128:
            parts = mx.quantize(mx.array(w).astype(dtype), group_size=group, bits=n_bits)
            digest = hashlib.sha256(b"".join(bytes(memoryview(p.view(mx.uint8))) for p in parts))
            print(name, n_bits, group, digest.hexdigest())
