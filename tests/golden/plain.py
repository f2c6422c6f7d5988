# SPDX-License-Identifier: MIT
"""The same models once more, in float64 numpy straight from the GGUF file and its conventions.

It shares no code with transformers: RoPE pairs, frequency factors, linear and YaRN scaling follow
what llama.cpp defines for the file's keys. The scripts compare it with transformers and store the
distance between the two.
"""

import math

import numpy as np


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


class Plain:
    def __init__(self, f):
        self.f = f
        self.heads = f.arch_key("attention.head_count")
        self.kv_heads = f.arch_key("attention.head_count_kv", self.heads)
        self.dim = f.arch_key("embedding_length") // self.heads
        self.layer_norm = f.arch == "gpt2"
        self.eps = f.arch_key(f"attention.layer_norm_{'' if self.layer_norm else 'rms_'}epsilon")

    def tensor(self, name):
        a = self.f.tensors.get(name)
        return None if a is None else a.astype(np.float64)

    def linear(self, x, name):
        y = x @ self.tensor(f"{name}.weight").T
        bias = self.tensor(f"{name}.bias")
        return y if bias is None else y + bias

    def norm(self, x, name):
        gain, bias = self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias")
        if self.layer_norm:
            x = x - x.mean(axis=-1, keepdims=True)
        y = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + self.eps) * gain
        return y if bias is None else y + bias

    def angles(self, n):
        """(cos, sin) of each position and pair, magnitude included."""
        f, pairs = self.f, self.dim // 2
        base = f.arch_key("rope.freq_base", 10000.0)
        theta = np.arange(n)[:, None] * base ** (-2.0 * np.arange(pairs) / self.dim)
        factors = self.tensor("rope_freqs.weight")
        if factors is not None:
            theta = theta / factors
        kind, scale, magnitude = f.arch_key("rope.scaling.type"), 1.0, 1.0
        if kind in ("linear", "yarn"):
            scale = 1.0 / f.arch_key("rope.scaling.factor")
        if kind == "yarn":
            context = f.arch_key("rope.scaling.original_context_length")

            def pair_that_turns(times):
                return self.dim * math.log(context / (times * 2 * math.pi)) / (2 * math.log(base))

            fast, slow = 32.0, 1.0
            low = max(0.0, math.floor(pair_that_turns(fast)))
            high = min(self.dim - 1.0, math.ceil(pair_that_turns(slow)))
            ramp = np.clip((np.arange(pairs) - low) / max(0.001, high - low), 0.0, 1.0)
            theta = theta * scale * ramp + theta * (1.0 - ramp)
            magnitude = 1 + 0.1 * math.log(1 / scale)
            magnitude *= f.arch_key("rope.scaling.attn_factor", 1.0)
        else:
            theta = theta * scale
        return np.cos(theta) * magnitude, np.sin(theta) * magnitude

    def rope(self, x):
        """x: (token, head, dim). llama turns neighbours (2i, 2i+1), qwen2 turns (i, i + dim/2)."""
        if self.f.arch == "gpt2":
            return x
        cos, sin = (a[:, None, :] for a in self.angles(len(x)))
        adjacent = self.f.arch == "llama"
        half = self.dim // 2
        a, b = (x[..., 0::2], x[..., 1::2]) if adjacent else (x[..., :half], x[..., half:])
        out = np.empty_like(x)
        u, v = a * cos - b * sin, a * sin + b * cos
        if adjacent:
            out[..., 0::2], out[..., 1::2] = u, v
        else:
            out[..., :half], out[..., half:] = u, v
        return out

    def attention(self, x, at):
        n, kv = len(x), self.kv_heads * self.dim
        if self.f.arch == "gpt2":
            q, k, v = np.split(self.linear(x, f"{at}.attn_qkv"), 3, axis=-1)
        else:
            q, k, v = (self.linear(x, f"{at}.attn_{c}") for c in "qkv")
        q = self.rope(q.reshape(n, self.heads, self.dim))
        k = self.rope(k.reshape(n, self.kv_heads, self.dim))
        v = v.reshape(n, self.kv_heads, self.dim)
        share = self.heads // self.kv_heads
        z = np.empty((n, self.heads, self.dim))
        for h in range(self.heads):
            score = q[:, h] @ k[:, h // share].T / math.sqrt(self.dim)
            score[np.triu_indices(n, 1)] = -np.inf
            z[:, h] = softmax(score) @ v[:, h // share]
        return self.linear(z.reshape(n, -1), f"{at}.attn_output")

    def mlp(self, x, at):
        up = self.linear(x, f"{at}.ffn_up")
        if self.f.arch == "gpt2":
            u = math.sqrt(2 / math.pi) * (up + 0.044715 * up**3)
            return self.linear(0.5 * up * (1 + np.tanh(u)), f"{at}.ffn_down")
        gate = self.linear(x, f"{at}.ffn_gate")
        return self.linear(gate / (1 + np.exp(-gate)) * up, f"{at}.ffn_down")

    def trace(self, ids):
        points = {}
        x = self.tensor("token_embd.weight")[ids]
        if self.f.arch == "gpt2":
            x = x + self.tensor("position_embd.weight")[: len(ids)]
        points["embd.out"] = x
        for n in range(self.f.arch_key("block_count")):
            at = f"blk.{n}"
            x = x + self.attention(self.norm(x, f"{at}.attn_norm"), at)
            points[f"{at}.mid"] = x
            x = x + self.mlp(self.norm(x, f"{at}.ffn_norm"), at)
            points[f"{at}.out"] = x
        x = points["output_norm.out"] = self.norm(x, "output_norm")
        head = "output" if "output.weight" in self.f.tensors else "token_embd"
        points["output.out"] = self.linear(x, head)
        return points
