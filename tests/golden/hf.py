# SPDX-License-Identifier: MIT
"""A GGUF file as a Hugging Face transformers model in float64, and what it computes at the points.

The weights are exactly those of the file (quantized ones decoded). transformers computes norms,
softmax and RoPE angles in float32 even then, so the figures are good to about 1e-6.
"""

import gguf
import numpy as np
import torch
import transformers

torch.set_num_threads(1)

LLAMA_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
GPT2_NAMES = {
    "token_embd": "transformer.wte",
    "position_embd": "transformer.wpe",
    "output_norm": "transformer.ln_f",
    "output": "lm_head",
    "attn_norm": "ln_1",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_norm": "ln_2",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}


class File:
    """Metadata and float32 tensors (rows, columns) of a GGUF file."""

    def __init__(self, path):
        reader = gguf.GGUFReader(str(path))
        self.fields = reader.fields
        self.arch = self.key("general.architecture")
        self.tensors = {}
        for t in reader.tensors:
            shape = tuple(int(n) for n in reversed(t.shape))
            if t.tensor_type == gguf.GGMLQuantizationType.F32:
                self.tensors[t.name] = np.array(t.data, dtype=np.float32).reshape(shape)
            else:
                self.tensors[t.name] = gguf.dequantize(t.data, t.tensor_type).reshape(shape)

    def key(self, name, default=None):
        return self.fields[name].contents() if name in self.fields else default

    def arch_key(self, name, default=None):
        return self.key(f"{self.arch}.{name}", default)


def half_split(a, heads):
    """Rows of a Q or K projection: adjacent RoPE pairs (GGUF llama) to halves (transformers)."""
    rest = a.shape[1:]
    pairs = a.reshape(heads, a.shape[0] // heads // 2, 2, *rest)
    return np.swapaxes(pairs, 1, 2).reshape(a.shape)


def rope_parameters(f):
    rope = {"rope_theta": f.arch_key("rope.freq_base", 10000.0), "rope_type": "default"}
    kind = f.arch_key("rope.scaling.type")
    if kind in ("linear", "yarn"):
        factor = f.arch_key("rope.scaling.factor")
        rope |= {"rope_type": kind, "factor": factor}
    if kind == "yarn":
        magnitude = (1 + 0.1 * np.log(factor)) * f.arch_key("rope.scaling.attn_factor", 1.0)
        context = f.arch_key("rope.scaling.original_context_length")
        rope |= {"attention_factor": float(magnitude), "original_max_position_embeddings": context}
    return rope


def llama_config(f, rope):
    biased = "blk.0.attn_output.bias" in f.tensors
    width, heads = f.arch_key("embedding_length"), f.arch_key("attention.head_count")
    extra = {"attention_bias": biased, "mlp_bias": biased} if f.arch == "llama" else {}
    cls = transformers.LlamaConfig if f.arch == "llama" else transformers.Qwen2Config
    return cls(
        vocab_size=f.tensors["token_embd.weight"].shape[0],
        hidden_size=width,
        intermediate_size=f.arch_key("feed_forward_length"),
        num_hidden_layers=f.arch_key("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=f.arch_key("attention.head_count_kv"),
        head_dim=width // heads,
        max_position_embeddings=f.arch_key("context_length"),
        rms_norm_eps=f.arch_key("attention.layer_norm_rms_epsilon"),
        rope_parameters=rope or rope_parameters(f),
        tie_word_embeddings="output.weight" not in f.tensors,
        **extra,
    )


def gpt2_config(f):
    return transformers.GPT2Config(
        vocab_size=f.tensors["token_embd.weight"].shape[0],
        n_positions=f.arch_key("context_length"),
        n_embd=f.arch_key("embedding_length"),
        n_layer=f.arch_key("block_count"),
        n_head=f.arch_key("attention.head_count"),
        n_inner=f.arch_key("feed_forward_length"),
        layer_norm_epsilon=f.arch_key("attention.layer_norm_epsilon"),
        activation_function="gelu_new",
        tie_word_embeddings="output.weight" not in f.tensors,
    )


def state_dict(f):
    gpt2 = f.arch == "gpt2"
    names = GPT2_NAMES if gpt2 else LLAMA_NAMES
    blocks = "transformer.h" if gpt2 else "model.layers"
    out = {}
    for name, a in f.tensors.items():
        if name == "rope_freqs.weight":
            continue  # transformers computes them from rope_parameters
        if f.arch == "llama" and ".attn_q." in name:
            a = half_split(a, f.arch_key("attention.head_count"))
        if f.arch == "llama" and ".attn_k." in name:
            a = half_split(a, f.arch_key("attention.head_count_kv"))
        if gpt2 and name.startswith("blk.") and a.ndim == 2:
            a = a.T  # transformers' Conv1D keeps (in, out)
        *prefix, module, kind = name.split(".")
        where = f"{blocks}.{prefix[1]}." if prefix else ""
        out[f"{where}{names[module]}.{kind}"] = torch.tensor(np.ascontiguousarray(a))
    return out


def load(path, rope=None):
    """The model in `path`; `rope` overrides what its metadata says of RoPE."""
    f = File(path)
    if f.arch == "gpt2":
        model = transformers.GPT2LMHeadModel(gpt2_config(f))
    else:
        cls = transformers.LlamaForCausalLM if f.arch == "llama" else transformers.Qwen2ForCausalLM
        model = cls(llama_config(f, rope))
    weights = state_dict(f)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    tied = {"lm_head.weight"} if "output.weight" not in f.tensors else set()
    assert set(missing) <= tied and not unexpected, (missing, unexpected)
    model.config._attn_implementation = "eager"
    return model.double().eval()


def trace(model, ids):
    """Activations of a prompt: point name -> array whose first axis is the token, and
    blk.N.attn.prob as (head, token, key)."""
    gpt2 = hasattr(model, "transformer")
    body = model.transformer if gpt2 else model.model
    points = {}

    def out_of(name):
        return lambda m, i, o: points.__setitem__(name, (o[0] if isinstance(o, tuple) else o)[0])

    def into(name):
        return lambda m, i: points.__setitem__(name, i[0][0])

    hooks = []
    for n, block in enumerate(body.h if gpt2 else body.layers):
        at = lambda port: f"blk.{n}.{port}"
        attn, mlp = (block.attn, block.mlp) if gpt2 else (block.self_attn, block.mlp)
        norm1, norm2 = (
            (block.ln_1, block.ln_2) if gpt2
            else (block.input_layernorm, block.post_attention_layernorm)
        )
        o_proj, down = (attn.c_proj, mlp.c_proj) if gpt2 else (attn.o_proj, mlp.down_proj)
        if n == 0:
            hooks.append(norm1.register_forward_pre_hook(into("embd.out")))
        hooks += [
            norm1.register_forward_hook(out_of(at("attn_norm.out"))),
            o_proj.register_forward_pre_hook(into(at("attn_output.in"))),
            o_proj.register_forward_hook(out_of(at("attn_output.out"))),
            norm2.register_forward_pre_hook(into(at("mid"))),
            norm2.register_forward_hook(out_of(at("ffn_norm.out"))),
            down.register_forward_pre_hook(into(at("ffn_down.in"))),
            down.register_forward_hook(out_of(at("ffn_down.out"))),
            block.register_forward_hook(out_of(at("out"))),
        ]
    last = body.ln_f if gpt2 else body.norm
    hooks.append(last.register_forward_hook(out_of("output_norm.out")))
    with torch.no_grad():
        result = model(torch.tensor([ids]), output_attentions=True, use_cache=False)
    for h in hooks:
        h.remove()
    points["output.out"] = result.logits[0]
    for n, a in enumerate(result.attentions):
        points[f"blk.{n}.attn.prob"] = a[0]
    return {k: v.detach().double().numpy() for k, v in points.items()}


def logits(model, ids):
    """Logits (token, vocabulary) of a prompt in float64."""
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0].double().numpy()
