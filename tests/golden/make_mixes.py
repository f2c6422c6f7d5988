# SPDX-License-Identifier: MIT
"""Makes mixes.txt: which format llama-quantize gives each tensor under each of its mixes.

usage: make_mixes.py LLAMA_QUANTIZE FOLDER > mixes.txt
LLAMA_QUANTIZE is the program of llama.cpp, of which --dry-run is used; model files without data are
made in FOLDER. Needs the Python package gguf. mixes.txt holds

  model NAME                a model follows
  key KEY VALUE             its metadata
  tensor NAME NE0 NE1 ...   its tensors; %d in NAME stands for every layer
  mix MIX NAME=FORMATS ...  under a mix: formats of the layers in order, N*FORMAT for N in a row;
                            tensors that are not there keep what they have
  fails MIX                 llama-quantize gives up
  weighed MIX ...           like mix, with an importance matrix, where that gives other formats
"""

import re
import struct
import subprocess
import sys

import gguf

MIXES = (
    "F16 BF16 Q8_0 Q6_K Q5_K_M Q5_K_S Q5_1 Q5_0 Q4_K_M Q4_K_S Q4_1 Q4_0 IQ4_NL IQ4_XS MXFP4_MOE "
    "Q3_K_L Q3_K_M Q3_K_S IQ3_M IQ3_S IQ3_XS IQ3_XXS Q2_K Q2_K_S IQ2_M IQ2_S IQ2_XS IQ2_XXS IQ1_M "
    "IQ1_S TQ2_0 TQ1_0 Q2_0 Q1_0"
).split()


def llama(layers, width, hidden, heads, kv, vocab, tied=False, experts=0, arch="llama"):
    head = width // heads
    keys = {
        "block_count": layers,
        "embedding_length": width,
        "feed_forward_length": hidden,
        "attention.head_count": heads,
        "attention.head_count_kv": kv,
        "context_length": 512,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.dimension_count": head,
        "vocab_size": vocab,
    }
    tensors = [("token_embd.weight", (width, vocab))]
    if not tied:
        tensors.append(("output.weight", (width, vocab)))
    tensors += [
        ("output_norm.weight", (width,)),
        ("blk.%d.attn_norm.weight", (width,)),
        ("blk.%d.attn_q.weight", (width, width)),
        ("blk.%d.attn_k.weight", (width, head * kv)),
        ("blk.%d.attn_v.weight", (width, head * kv)),
        ("blk.%d.attn_output.weight", (width, width)),
        ("blk.%d.ffn_norm.weight", (width,)),
    ]
    if experts:
        keys["expert_count"] = experts
        keys["expert_used_count"] = 2
        tensors += [
            ("blk.%d.ffn_gate_inp.weight", (width, experts)),
            ("blk.%d.ffn_gate_exps.weight", (width, hidden, experts)),
            ("blk.%d.ffn_down_exps.weight", (hidden, width, experts)),
            ("blk.%d.ffn_up_exps.weight", (width, hidden, experts)),
        ]
    else:
        tensors += [
            ("blk.%d.ffn_gate.weight", (width, hidden)),
            ("blk.%d.ffn_down.weight", (hidden, width)),
            ("blk.%d.ffn_up.weight", (width, hidden)),
        ]
    return arch, keys, tensors


def fused(arch, layers, width, hidden, heads, kv, vocab, positions=False):
    head = width // heads
    keys = {
        "block_count": layers,
        "embedding_length": width,
        "feed_forward_length": hidden,
        "attention.head_count": heads,
        "attention.head_count_kv": kv,
        "context_length": 512,
        "attention.layer_norm_epsilon": 1e-5,
        "vocab_size": vocab,
    }
    tensors = [("token_embd.weight", (width, vocab)), ("output.weight", (width, vocab))]
    if positions:
        tensors.append(("position_embd.weight", (width, 512)))
    tensors += [
        ("blk.%d.attn_qkv.weight", (width, width + 2 * head * kv)),
        ("blk.%d.attn_output.weight", (width, width)),
        ("blk.%d.ffn_down.weight", (hidden, width)),
        ("blk.%d.ffn_up.weight", (width, hidden)),
    ]
    return arch, keys, tensors


def latent(layers, width, hidden, heads, rank, vocab, experts):
    """Latent attention, experts beside a shared one, rows of heads that 256 does not divide."""
    keys = {
        "block_count": layers,
        "embedding_length": width,
        "feed_forward_length": hidden,
        "attention.head_count": heads,
        "attention.head_count_kv": 1,
        "context_length": 512,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "attention.q_lora_rank": 3 * rank,
        "attention.kv_lora_rank": rank,
        "expert_count": experts,
        "expert_used_count": 8,
        "expert_feed_forward_length": hidden,
        "expert_shared_count": 1,
        "rope.dimension_count": 64,
        "vocab_size": vocab,
    }
    tensors = [
        ("token_embd.weight", (width, vocab)),
        ("output.weight", (width, vocab)),
        ("blk.%d.attn_q_a.weight", (width, 3 * rank)),
        ("blk.%d.attn_q_b.weight", (3 * rank, heads * 192)),
        ("blk.%d.attn_kv_a_mqa.weight", (width, rank + 64)),
        ("blk.%d.attn_kv_b.weight", (rank, heads * 256)),
        ("blk.%d.attn_k_b.weight", (128, rank, heads)),
        ("blk.%d.attn_v_b.weight", (rank, 128, heads)),
        ("blk.%d.attn_output.weight", (heads * 128, width)),
        ("blk.%d.ffn_gate_inp.weight", (width, experts)),
    ]
    for kind, n in (("exps", (experts,)), ("shexp", ())):
        tensors += [
            (f"blk.%d.ffn_gate_{kind}.weight", (width, hidden, *n)),
            (f"blk.%d.ffn_down_{kind}.weight", (hidden, width, *n)),
            (f"blk.%d.ffn_up_{kind}.weight", (width, hidden, *n)),
        ]
    return "deepseek2", keys, tensors


MODELS = {
    "llama-7b": llama(32, 4096, 11008, 32, 32, 32000),
    "llama-8b": llama(32, 4096, 14336, 32, 8, 32064),
    "llama-70b": llama(80, 8192, 28672, 64, 8, 32000),
    "odd-135m": llama(30, 576, 1536, 9, 3, 4096, tied=True),
    "odd-172": llama(5, 64, 172, 8, 4, 512, tied=True),
    "experts-8": llama(32, 4096, 14336, 32, 8, 32000, experts=8),
    "experts-16": llama(24, 2048, 1024, 16, 16, 32000, experts=16),
    "qwen2-3b": llama(36, 2048, 11008, 16, 2, 4096, tied=True, arch="qwen2"),
    "falcon-7b": fused("falcon", 32, 4544, 18176, 71, 1, 4096),
    "falcon-256": fused("falcon", 32, 4096, 16384, 64, 8, 4096),
    "latent-64": latent(24, 2048, 1536, 16, 512, 4096, 64),
    "gpt2": fused("gpt2", 12, 768, 3072, 12, 12, 4096, positions=True),
}


def write(path, model):
    arch, keys, tensors = model
    w = gguf.GGUFWriter(None, arch)
    out = []
    for key, v in keys.items():
        full = arch + "." + key
        w.add_float32(full, v) if isinstance(v, float) else w.add_uint32(full, v)
    w.add_string("tokenizer.ggml.model", "no_vocab")
    for name, shape in tensors:
        for i in range(keys["block_count"]) if "%d" in name else [None]:
            out.append((name % i if i is not None else name, shape))
    size = 0
    for name, shape in out:
        n = 2
        for x in shape:
            n *= x
        if len(shape) == 1:
            n *= 2
        kind = gguf.GGMLQuantizationType.F32 if len(shape) == 1 else gguf.GGMLQuantizationType.F16
        w.add_tensor_info(name, tuple(reversed(shape)), "float32", n, raw_dtype=kind)
        size += (n + 31) // 32 * 32
    w.path = path
    w.open_output_file(path)
    w.write_header_to_file(path)
    w.write_kv_data_to_file()
    w.write_ti_data_to_file()
    w.fout[0].flush()
    end = w.fout[0].tell()
    w.fout[0].truncate((end + 31) // 32 * 32 + size)
    w.close()


def write_importance(path):
    """The older form, with one entry: that there is one is all that the rules ask."""
    name = b"blk.0.attn_q.weight"
    with open(path, "wb") as f:
        f.write(struct.pack("<ii", 1, len(name)) + name + struct.pack("<iif", 1, 1, 1.0))


def run(quantize, path, mix, *options):
    """{name: format} of tensors that change, None when it gives up."""
    done = subprocess.run(
        [quantize, "--dry-run", *options, path, path + ".out", mix], capture_output=True, text=True
    )
    if done.returncode:
        return None
    found = {}
    for line in (done.stdout + done.stderr).splitlines():
        m = re.match(r"\[ *\d+/ *\d+\] (\S+) .*?type = +(\S+), size = +\S+ MiB(?: -> +\S+ MiB \((\S+)\))?", line)
        if m:
            found[m[1]] = (m[3] or m[2]).lower()
    return found


def compress(formats):
    out, i = [], 0
    while i < len(formats):
        n = 1
        while i + n < len(formats) and formats[i + n] == formats[i]:
            n += 1
        out.append((f"{n}*" if n > 1 else "") + formats[i])
        i += n
    return ",".join(out)


def formats_of(keys, tensors, mix, found):
    line = []
    for t, _ in tensors:
        names = [t % i for i in range(keys["block_count"])] if "%d" in t else [t]
        formats = [found[n] for n in names]
        if any(f not in ("f16", "f32") for f in formats) or mix == "BF16":
            line.append(f"{t}={compress(formats)}")
    return line


def main():
    quantize, folder = sys.argv[1:]
    importance = f"{folder}/importance.dat"
    write_importance(importance)
    print("# Made by make_mixes.py from what llama-quantize --dry-run says.")
    for name, model in MODELS.items():
        arch, keys, tensors = model
        path = f"{folder}/{name}.gguf"
        write(path, model)
        print(f"model {name}")
        print(f"key general.architecture {arch}")
        for key, v in keys.items():
            if not isinstance(v, float):
                print(f"key {arch}.{key} {v}")
        for t, shape in tensors:
            print("tensor", t, *shape)
        for mix in MIXES:
            found = run(quantize, path, mix)
            if found is None:
                print(f"fails {mix}")
                continue
            print("mix", mix, *formats_of(keys, tensors, mix, found))
            weighed = run(quantize, path, mix, "--imatrix", importance)
            if weighed != found:
                print("weighed", mix, *formats_of(keys, tensors, mix, weighed))


main()
