# SPDX-License-Identifier: MIT
"""Traces of tiny models: what TransformerLens and llama.cpp compute, under their own names.

    python make_traces.py lens [FOLDER]                 # needs transformer_lens < 4
    python make_traces.py llama.cpp DUMPER [FOLDER]     # DUMPER: dump_llama_cpp.cpp, built

FOLDER: default traces/ beside this script. A trace is a folder that `ref trace` reads.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import safetensors.numpy

HERE = pathlib.Path(__file__).parent
MODELS = ["llama-gqa-tied", "gpt2", "qwen2", "llama-untied-bias"]
TOKENS = 6


def ids_of(name):
    return json.loads((HERE / "models" / f"{name}.json").read_text())["ids"][:TOKENS]


def save(folder, engine, model, ids, arrays):
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {k: np.ascontiguousarray(v, dtype=np.float32) for k, v in arrays.items()}
    safetensors.numpy.save_file(arrays, folder / "trace.safetensors")
    manifest = {
        "format": "qdb-trace", "version": 1, "engine": engine, "model": f"{model}.gguf",
        "dtype": "float32", "tokens": ids,
    }
    (folder / "trace.json").write_text(json.dumps(manifest) + "\n")


def lens(name):
    """The weights of the file, not processed, in TransformerLens, in float64."""
    import torch
    import transformer_lens
    from transformer_lens.pretrained.weight_conversions import (
        convert_gpt2_weights, convert_llama_weights, convert_qwen2_weights,
    )

    import hf

    path = HERE / "models" / f"{name}.gguf"
    f, model = hf.File(path), hf.load(path)
    gpt2 = f.arch == "gpt2"
    heads, width = f.arch_key("attention.head_count"), f.arch_key("embedding_length")
    rope = {} if gpt2 else {
        "rotary_dim": width // heads,
        "rotary_base": float(f.arch_key("rope.freq_base", 10000.0)),
        "n_key_value_heads": f.arch_key("attention.head_count_kv"),
    }
    cfg = transformer_lens.HookedTransformerConfig(
        n_layers=f.arch_key("block_count"), d_model=width, n_heads=heads, d_head=width // heads,
        d_mlp=f.arch_key("feed_forward_length"), d_vocab=f.tensors["token_embd.weight"].shape[0],
        n_ctx=f.arch_key("context_length"), act_fn="gelu_new" if gpt2 else "silu",
        gated_mlp=not gpt2, normalization_type="LN" if gpt2 else "RMS",
        eps=f.arch_key("attention.layer_norm_epsilon", 0)
        or f.arch_key("attention.layer_norm_rms_epsilon"),
        positional_embedding_type="standard" if gpt2 else "rotary", dtype=torch.float64,
        use_attn_result=True, final_rms=not gpt2, original_architecture="", **rope)
    net = transformer_lens.HookedTransformer(cfg)
    convert = {"gpt2": convert_gpt2_weights, "llama": convert_llama_weights,
               "qwen2": convert_qwen2_weights}[f.arch]
    missing, unexpected = net.load_state_dict(convert(model, cfg), strict=False)
    odd = [k for k in missing if "mask" not in k and "IGNORE" not in k and "rotary" not in k
           and k != "unembed.b_U"]
    assert not odd and not unexpected, (odd, unexpected)
    ids = ids_of(name)
    with torch.no_grad():
        logits, cache = net.run_with_cache(torch.tensor([ids]))
        expected = model(torch.tensor([ids])).logits
    assert (logits - expected).abs().max() < 1e-4, (logits - expected).abs().max()
    arrays = {k: v[0].double().numpy() for k, v in cache.items()}
    for k, v in arrays.items():
        if k.endswith("attn.hook_result"):
            assert v.shape == (TOKENS, heads, width), (k, v.shape)
    return f"TransformerLens {version('transformer_lens')}", ids, arrays


def version(package):
    import importlib.metadata

    return importlib.metadata.version(package)


def llama_cpp(name, dumper):
    """The last tensor of each name. Keys of a cache that is longer than the prompt are cut."""
    ids = ids_of(name)
    with tempfile.TemporaryDirectory() as folder:
        path = HERE / "models" / f"{name}.gguf"
        subprocess.run([dumper, path, folder, ",".join(map(str, ids))], check=True)
        arrays = {p.name[:-4]: np.load(p) for p in sorted(pathlib.Path(folder).glob("*.npy"))}
    out = {}
    for k, v in arrays.items():
        v = v.reshape(v.shape[1:]) if v.ndim > 2 and v.shape[0] == 1 else v
        stem = k.split("-")[0]
        if stem in ("norm", "norm_w"):
            continue  # two of a block have this name
        if stem in ("kq", "kq_soft_max"):
            v = v[:, :, : len(ids)]
        out[k] = v
    return "llama.cpp", ids, out


if __name__ == "__main__":
    what, args = sys.argv[1], sys.argv[2:]
    dumper = args.pop(0) if what == "llama.cpp" else None
    folder = pathlib.Path(args[0]) if args else HERE / "traces"
    for name in MODELS:
        if what == "lens" and name == "llama-untied-bias":
            continue  # TransformerLens has no biases in a gated layer of this kind
        engine, ids, arrays = lens(name) if what == "lens" else llama_cpp(name, dumper)
        save(folder / f"{name}.{what}", engine, name, ids, arrays)
        print(name, what, len(arrays), "tensors")
