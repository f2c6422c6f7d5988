# SPDX-License-Identifier: MIT
"""Tiny models with random weights, each with what transformers computes at the points of a prompt.

    python make_models.py [FOLDER]      # default: models/ beside this script
"""

import math
import pathlib
import sys

import gguf
import numpy as np

import common
import hf
import make_tokenizers
import plain

WIDTH, BLOCKS, TOKENS = 32, 2, 16
STORAGE = {
    "f32": (gguf.GGMLQuantizationType.F32, 0),
    "f16": (gguf.GGMLQuantizationType.F16, 1),
    "q4_0": (gguf.GGMLQuantizationType.Q4_0, 2),
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, 7),
    "bf16": (gguf.GGMLQuantizationType.BF16, 32),
}
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "context": 256}

# What a model does not say is taken from DEFAULT. `vocabulary` is a number (no tokenizer in the
# file) or a name of small_vocabularies(). eps is large in one model, so that it matters.
DEFAULT = {
    "arch": "llama", "heads": 2, "kv_heads": 1, "ff": 48, "tied": True, "biases": False,
    "storage": "f32", "vocabulary": 64, "context": 128, "eps": 1e-5, "base": 10000.0, "rope": {},
}
GQA = {"seed": 11, "heads": 4, "kv_heads": 2, "ff": 64, "vocabulary": "spm", "eps": 1e-2}
MODELS = {
    "llama-gqa-tied": GQA,
    "llama-gqa-tied-q8_0": GQA | {"storage": "q8_0"},
    "llama-gqa-tied-q4_0": GQA | {"storage": "q4_0"},
    "llama-untied-bias": {"seed": 12, "heads": 4, "kv_heads": 4, "tied": False, "biases": True},
    "llama-linear": {"seed": 13, "storage": "f16", "rope": {"type": "linear", "factor": 4.0}},
    "llama-yarn": {
        "seed": 14, "base": 500.0, "context": 2048,
        "rope": {"type": "yarn", "factor": 4.0, "original_context_length": 512},
    },
    "llama-yarn-attn": {
        "seed": 15, "storage": "f16", "context": 8192,
        "rope": {
            "type": "yarn", "factor": 8.0, "original_context_length": 1024, "attn_factor": 0.75,
        },
    },
    "llama-freqs": {"seed": 16, "storage": "bf16", "base": 500.0, "context": 2048, "freqs": True},
    "qwen2": {
        "seed": 17, "arch": "qwen2", "heads": 4, "kv_heads": 2, "vocabulary": "qwen2",
        "biases": True, "eps": 1e-6, "base": 1000000.0,
    },
    "gpt2": {
        "seed": 18, "arch": "gpt2", "heads": 4, "ff": 64, "vocabulary": "gpt2", "biases": True,
        "context": 64,
    },
}


def small_vocabularies():
    text = [(common.TEXT / "prose.txt").read_text(encoding="utf-8")]
    end = "<|endoftext|>"
    qwen2 = make_tokenizers.train_bpe(text, "qwen2", 317, [end, "<|im_start|>", "<|im_end|>"])
    return {
        "spm": make_tokenizers.train_spm(text, 320, coverage=0.98)[0],
        "qwen2": qwen2,
        "gpt2": make_tokenizers.train_bpe(text, "gpt-2", 319, [end]),
    }


def llama3_factors(pairs, dim, base):
    """Llama 3's frequency factors: short waves keep their frequency, long ones are divided by
    `factor`, those between get a blend."""
    out = []
    for i in range(pairs):
        wave = 2 * math.pi * base ** (2 * i / dim)
        smooth = (LLAMA3["context"] / wave - LLAMA3["low_freq_factor"]) / (
            LLAMA3["high_freq_factor"] - LLAMA3["low_freq_factor"]
        )
        smooth = min(max(smooth, 0.0), 1.0)
        out.append(1 / ((1 - smooth) / LLAMA3["factor"] + smooth))
    return np.array(out, dtype=np.float32)


def random_tensors(m, vocabulary):
    """name -> float32 array (out, in), scaled so that activations stay near 1."""
    rng = np.random.default_rng(m["seed"])
    tensors = {}

    def matrix(name, rows, columns, gain=1.0):
        a = rng.standard_normal((rows, columns)) * gain / math.sqrt(columns)
        tensors[f"{name}.weight"] = a.astype(np.float32)

    def linear(name, rows, columns, bias, gain=1.0):
        matrix(name, rows, columns, gain)
        if bias:
            tensors[f"{name}.bias"] = (0.3 * rng.standard_normal(rows)).astype(np.float32)

    def norm(name):
        gain = 1 + 0.4 * rng.standard_normal(WIDTH)
        tensors[f"{name}.weight"] = gain.astype(np.float32)
        if m["arch"] == "gpt2":
            tensors[f"{name}.bias"] = (0.2 * rng.standard_normal(WIDTH)).astype(np.float32)

    dim, b = WIDTH // m["heads"], m["biases"]
    kv = m.get("kv_heads", m["heads"]) * dim
    out_bias = b and m["arch"] != "qwen2"
    matrix("token_embd", vocabulary, WIDTH, 2.0)
    if m["arch"] == "gpt2":
        matrix("position_embd", m["context"], WIDTH, 2.0)
    for n in range(BLOCKS):
        at = f"blk.{n}"
        norm(f"{at}.attn_norm")
        if m["arch"] == "gpt2":
            linear(f"{at}.attn_qkv", 3 * WIDTH, WIDTH, b, 1.5)
        else:
            linear(f"{at}.attn_q", WIDTH, WIDTH, b, 1.5)
            linear(f"{at}.attn_k", kv, WIDTH, b, 1.5)
            linear(f"{at}.attn_v", kv, WIDTH, b)
        linear(f"{at}.attn_output", WIDTH, WIDTH, out_bias)
        norm(f"{at}.ffn_norm")
        if m["arch"] != "gpt2":
            linear(f"{at}.ffn_gate", m["ff"], WIDTH, out_bias, 1.5)
        linear(f"{at}.ffn_up", m["ff"], WIDTH, out_bias)
        linear(f"{at}.ffn_down", WIDTH, m["ff"], out_bias)
    norm("output_norm")
    if not m["tied"]:
        matrix("output", vocabulary, WIDTH, 2.0)
    if m.get("freqs"):
        tensors["rope_freqs.weight"] = llama3_factors(dim // 2, dim, m["base"])
    return tensors


def write_model(path, name, m, vocabularies):
    arch = m["arch"]
    w = gguf.GGUFWriter(str(path), arch)
    w.add_name(f"{name}, random weights for tests")
    vocab = vocabularies.get(m["vocabulary"])
    size = len(vocab["tokens"]) if vocab else m["vocabulary"]
    w.add_vocab_size(size)
    w.add_context_length(m["context"])
    w.add_embedding_length(WIDTH)
    w.add_block_count(BLOCKS)
    w.add_feed_forward_length(m["ff"])
    w.add_head_count(m["heads"])
    if arch == "gpt2":
        w.add_layer_norm_eps(m["eps"])
    else:
        w.add_head_count_kv(m["kv_heads"])
        w.add_layer_norm_rms_eps(m["eps"])
        w.add_rope_dimension_count(WIDTH // m["heads"])
        w.add_rope_freq_base(m["base"])
        for key, value in m["rope"].items():
            key = f"{arch}.rope.scaling.{key}"
            if isinstance(value, str):
                w.add_string(key, value)
            elif isinstance(value, int):
                w.add_uint32(key, value)
            else:
                w.add_float32(key, value)
    kind, file_type = STORAGE[m["storage"]]
    w.add_file_type(file_type)
    if vocab:
        common.add_vocabulary(w, vocab)
    else:
        w.add_tokenizer_model("no_vocab")
    for tensor, a in random_tensors(m, size).items():
        if a.ndim == 1 or tensor == "position_embd.weight" or m["storage"] == "f32":
            w.add_tensor(tensor, a)
        else:
            w.add_tensor(tensor, gguf.quantize(a, kind), raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return size


def prompt(size, seed):
    """Fixed ids, with a repeat and both ends of the vocabulary in it."""
    ids = np.random.default_rng(1000 + seed).integers(0, size, TOKENS).tolist()
    ids[3], ids[8], ids[9], ids[12] = 0, size - 1, size - 1, ids[5]
    return ids


def point(name, a, tokens):
    return {"name": name, "tok": tokens, "data": common.digits(a[tokens], 7)}


def golden(path, name, m, size):
    rope = None
    if m.get("freqs"):
        rope = {"rope_type": "llama3", "rope_theta": m["base"], "factor": LLAMA3["factor"],
                "low_freq_factor": LLAMA3["low_freq_factor"],
                "high_freq_factor": LLAMA3["high_freq_factor"],
                "original_max_position_embeddings": LLAMA3["context"]}
    ids = prompt(size, m["seed"])
    model = hf.load(path, rope)
    points = hf.trace(model, ids)
    second = plain.Plain(hf.File(path)).trace(ids)
    distance = max(np.abs(points[k] - second[k]).max() for k in second)
    assert distance < 1e-5, (name, distance)

    every, ends = list(range(TOKENS)), [0, TOKENS - 1]
    chosen = [0, TOKENS // 2, TOKENS - 1]
    out = [point("embd.out", points["embd.out"], ends)]
    for n in range(BLOCKS):
        inner = ["attn_norm.out", "attn_output.in", "attn_output.out", "mid", "ffn_norm.out",
                 "ffn_down.in", "ffn_down.out"]
        out += [point(f"blk.{n}.{p}", points[f"blk.{n}.{p}"], ends) for p in inner]
        prob = np.swapaxes(points[f"blk.{n}.attn.prob"], 0, 1)  # (token, head, key)
        out.append(point(f"blk.{n}.attn.prob", prob, [TOKENS - 1]))
        out.append(point(f"blk.{n}.out", points[f"blk.{n}.out"], every))
    out.append(point("output_norm.out", points["output_norm.out"], every))
    logits = points["output.out"]
    out.append(point("output.out", logits, chosen))
    top = logits.max(axis=-1)
    lse = top + np.log(np.exp(logits - top[:, None]).sum(axis=-1))
    return {
        "model": path.name,
        "distance": float("%.2g" % distance),
        "ids": ids,
        "logsumexp": common.digits(lse, 8),
        "argmax": logits.argmax(axis=-1).tolist(),
        "points": out,
    }


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else common.HERE / "models"
    folder.mkdir(parents=True, exist_ok=True)
    vocabularies = small_vocabularies()
    for name, own in MODELS.items():
        m = DEFAULT | own
        path = folder / f"{name}.gguf"
        size = write_model(path, name, m, vocabularies)
        g = golden(path, name, m, size)
        points = g.pop("points")
        common.write_json(folder / f"{name}.json", g | {"points": points})
        rms = np.sqrt(np.mean(np.square(points[-1]["data"])))
        print(f"{name}: distance {g['distance']}, logits rms {rms:.2f}")


if __name__ == "__main__":
    main()
