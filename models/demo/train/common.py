# SPDX-License-Identifier: MIT
"""What the two demo models share: a small Llama in PyTorch, its trainer, a GGUF writer and reader.

Development-time only: qdb itself needs none of this. Needs torch, numpy and the PyPI package gguf.

The modules are nested so that state_dict() names equal GGUF tensor names (blk.0.attn_q.weight,
...), and RoPE turns adjacent pairs (2i, 2i+1), which is what a GGUF file of architecture "llama"
means, so that export permutes nothing.  Weights are (out, in), row major: GGUF's ne = [in, out].
"""
import math
import os
import time
from dataclasses import dataclass

import gguf
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Config:
    vocab: int
    ff: int                     # a multiple of 256, so that rows of ffn_down fill 256-wide blocks
    width: int = 256
    heads: int = 8
    kv_heads: int = 4
    blocks: int = 4
    context: int = 64           # longest sequence the model was trained on
    rope_base: float = 10000.0
    eps: float = 1e-5
    tied: bool = False          # output.weight absent: token_embd.weight serves as both

    @property
    def head_dim(self):
        return self.width // self.heads


class Weight(nn.Module):
    """One bare weight: (rows, cols), or (cols,) for a norm's gain."""

    def __init__(self, *shape, std=None):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(*shape) if std is None else torch.randn(*shape) * std)

    def linear(self, x):
        return F.linear(x, self.weight.to(x.dtype))

    def norm(self, x, eps):
        y = x.float()
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps) * self.weight
        return y.to(x.dtype)


def rope_tables(cfg, n):
    """cos and sin of shape (n, head_dim / 2): angle = position * base^(-2i / head_dim)."""
    inv = cfg.rope_base ** (-torch.arange(0, cfg.head_dim, 2, dtype=torch.float64) / cfg.head_dim)
    angle = torch.arange(n, dtype=torch.float64)[:, None] * inv
    return angle.cos().float(), angle.sin().float()


def rope(x, cos, sin):
    """x (batch, tok, head, head_dim), pairs (2i, 2i+1) turned by position's angles."""
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    c, s = cos[:, None, :], sin[:, None, :]
    return torch.stack((a * c - b * s, a * s + b * c), -1).flatten(-2).to(x.dtype)


class Block(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        d, kv, ff = cfg.width, cfg.kv_heads * cfg.head_dim, cfg.ff
        std = d ** -0.5
        down = std / math.sqrt(2 * cfg.blocks)      # residual writers start small
        self.cfg = cfg
        self.attn_norm = Weight(d)
        self.attn_q = Weight(d, d, std=std)
        self.attn_k = Weight(kv, d, std=std)
        self.attn_v = Weight(kv, d, std=std)
        self.attn_output = Weight(d, d, std=down)
        self.ffn_norm = Weight(d)
        self.ffn_gate = Weight(ff, d, std=std)
        self.ffn_up = Weight(ff, d, std=std)
        self.ffn_down = Weight(d, ff, std=down * math.sqrt(d / ff))

    def attention(self, x, cos, sin, note):
        cfg = self.cfg
        B, T, d = x.shape
        q = self.attn_q.linear(x).view(B, T, cfg.heads, cfg.head_dim)
        k = self.attn_k.linear(x).view(B, T, cfg.kv_heads, cfg.head_dim)
        v = self.attn_v.linear(x).view(B, T, cfg.kv_heads, cfg.head_dim)
        q, k = rope(q, cos, sin), rope(k, cos, sin)
        note("attn_q.rope", q), note("attn_k.rope", k), note("attn_v.out", v)
        group = cfg.heads // cfg.kv_heads           # query head h reads K/V head h // group
        k = k.repeat_interleave(group, 2).transpose(1, 2)
        v = v.repeat_interleave(group, 2).transpose(1, 2)
        score = q.transpose(1, 2) @ k.transpose(2, 3)
        score = score.float() * cfg.head_dim ** -0.5
        score = score + torch.full((T, T), -math.inf).triu(1)
        prob = score.softmax(-1).to(x.dtype)
        note("attn.prob", prob)                     # (batch, head, tok, key)
        out = (prob @ v).transpose(1, 2).reshape(B, T, d)
        note("attn.ctx", out)
        return self.attn_output.linear(out)

    def forward(self, x, cos, sin, note):
        a = self.attention(self.attn_norm.norm(x, self.cfg.eps), cos, sin, note)
        note("attn_output.out", a)
        x = x + a
        h = self.ffn_norm.norm(x, self.cfg.eps)
        h = F.silu(self.ffn_gate.linear(h)) * self.ffn_up.linear(h)
        note("ffn_down.in", h)
        h = self.ffn_down.linear(h)
        note("ffn_down.out", h)
        x = x + h
        note("out", x)
        return x


class Llama(nn.Module):
    def __init__(self, cfg, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.cfg = cfg
        self.token_embd = Weight(cfg.vocab, cfg.width, std=cfg.width ** -0.5 if cfg.tied else 0.5)
        self.blk = nn.ModuleList(Block(cfg) for _ in range(cfg.blocks))
        self.output_norm = Weight(cfg.width)
        if not cfg.tied:
            self.output = Weight(cfg.vocab, cfg.width, std=cfg.width ** -0.5)

    def hidden(self, tokens, dtype=torch.float32, record=None):
        """tokens (batch, tok) -> residual stream before output_norm (batch, tok, chan).
        record: a dict that receives the activations, as {"blk.0.attn.prob": tensor, ...}."""
        cos, sin = rope_tables(self.cfg, tokens.shape[1])
        x = F.embedding(tokens, self.token_embd.weight).to(dtype)
        for i, block in enumerate(self.blk):
            def note(name, t, i=i):
                if record is not None:
                    record[f"blk.{i}.{name}"] = t.detach()
            x = block(x, cos, sin, note)
        return x

    def head(self, x):
        """Residual stream (..., chan) -> logits (..., vocab) in float32."""
        x = self.output_norm.norm(x, self.cfg.eps)
        return (self.token_embd if self.cfg.tied else self.output).linear(x).float()

    def forward(self, tokens, dtype=torch.float32, record=None):
        return self.head(self.hidden(tokens, dtype, record))


def masked_loss(model, tokens, mask, dtype=torch.float32):
    """Mean cross-entropy of tokens[:, 1:] in nats, weighted by mask (batch, tok - 1)."""
    x = model.hidden(tokens[:, :-1], dtype)
    used = mask > 0
    loss = F.cross_entropy(model.head(x[used]), tokens[:, 1:][used], reduction="none")
    weight = mask[used].float()
    return (loss * weight).sum() / weight.sum()


def train(model, batch, steps, lr=1e-3, warmup=200, weight_decay=0.1, betas=(0.9, 0.98), clip=1.0,
          bf16=True, checkpoint=None, report=None, every=200, final_lr=0.02, loss_fn=masked_loss):
    """AdamW with linear warm-up and cosine decay to final_lr * lr.

    batch(step) -> (tokens int64 (batch, tok), mask (batch, tok - 1)), a function of step alone, so
    that a run resumed from `checkpoint` (a path, written every `every` steps) sees the same data.
    report(step, model) -> text appended to the log line.  Returns the seconds spent training."""
    matrices = [p for p in model.parameters() if p.dim() == 2]
    gains = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": weight_decay},
              {"params": gains, "weight_decay": 0.0}]
    opt = torch.optim.AdamW(groups, lr=lr, betas=betas, fused=True)
    step, spent = 0, 0.0
    if checkpoint and os.path.exists(checkpoint):
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        opt.load_state_dict(saved["opt"])
        step, spent = saved["step"], saved["spent"]
        print(f"resumed at step {step}", flush=True)
    start, total, count = time.time(), 0.0, 0
    while step < steps:
        ramp = min(1.0, (step + 1) / warmup)
        cosine = 0.5 * (1 + math.cos(math.pi * max(0, step - warmup) / max(1, steps - warmup)))
        for group in opt.param_groups:
            group["lr"] = lr * ramp * (final_lr + (1 - final_lr) * cosine)
        loss = loss_fn(model, *batch(step), torch.bfloat16 if bf16 else torch.float32)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        opt.step()
        step, total, count = step + 1, total + loss.item(), count + 1
        if step % every == 0 or step == steps:
            now = time.time()
            spent, start = spent + now - start, now
            note = report(step, model) if report else ""
            print(f"step {step:6d}  loss {total / count:.5f}  {spent / 60:6.2f} min  {note}",
                  flush=True)
            total, count = 0.0, 0
            if checkpoint:
                torch.save({"model": model.state_dict(), "opt": opt.state_dict(), "step": step,
                            "spent": spent}, checkpoint + ".new")
                os.replace(checkpoint + ".new", checkpoint)
            start = time.time()
    return spent


# Tokenizer: SentencePiece-style.  A vocabulary is a list of (text, score, type).

NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6        # values of tokenizer.ggml.token_type


def base_vocab():
    """<unk> <s> </s> and a token per byte, so that every byte string can be written: ids 0..258."""
    return ([("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL)] +
            [(f"<0x{b:02X}>", 0.0, BYTE) for b in range(256)])


BOS, EOS, NEWLINE = 1, 2, 3 + 0x0A                  # ids in base_vocab()


def sentencepiece(vocab, bos=BOS, eos=EOS):
    """A function that writes this vocabulary's metadata, for export()."""
    def write(w):
        w.add_tokenizer_model("llama")
        w.add_tokenizer_pre("default")
        w.add_token_list([t for t, _, _ in vocab])
        w.add_token_scores([s for _, s, _ in vocab])
        w.add_token_types([k for _, _, k in vocab])
        w.add_bos_token_id(bos)
        w.add_eos_token_id(eos)
        w.add_unk_token_id(0)
        w.add_add_bos_token(True)
        w.add_add_eos_token(False)
        w.add_add_space_prefix(False)
    return write


def export(model, path, tokenizer, kind, name, description, extra=None, kinds=None):
    """Write the model as GGUF.  kind: "f32", "f16" or "q8_0" for the matrices; gains stay float32.
    kinds: {tensor name: kind} where it is another.
    tokenizer: a function of the writer that adds tokenizer.ggml.*.
    extra: further metadata {key: str | int | float | bool | list of one of these}."""
    cfg = model.cfg
    types = {"f32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
             "f16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
             "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0)}
    w = gguf.GGUFWriter(path, "llama")
    w.add_name(name)
    w.add_description(description)
    w.add_license("MIT")
    w.add_vocab_size(cfg.vocab)
    w.add_context_length(cfg.context)
    w.add_embedding_length(cfg.width)
    w.add_block_count(cfg.blocks)
    w.add_feed_forward_length(cfg.ff)
    w.add_head_count(cfg.heads)
    w.add_head_count_kv(cfg.kv_heads)
    w.add_rope_dimension_count(cfg.head_dim)
    w.add_rope_freq_base(cfg.rope_base)
    w.add_layer_norm_rms_eps(cfg.eps)
    w.add_file_type(types[kind][1])
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    tokenizer(w)
    for key, value in (extra or {}).items():
        add = {bool: w.add_bool, int: w.add_uint32, float: w.add_float32, str: w.add_string,
               list: w.add_array}
        add[type(value)](key, value)
    for tensor, value in model.state_dict().items():
        data = value.detach().float().contiguous().numpy()
        here = "f32" if data.ndim == 1 else (kinds or {}).get(tensor, kind)
        kept = types[here][0]
        w.add_tensor(tensor, gguf.quants.quantize(data, kept), raw_dtype=kept)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def load(path):
    """Read a llama-architecture GGUF of any type gguf-py can decode into a float32 Llama."""
    r = gguf.GGUFReader(path)

    def field(key, default=None):
        f = r.get_field(key)
        return default if f is None else f.contents()

    tensors = {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in r.tensors}
    cfg = Config(vocab=tensors["token_embd.weight"].shape[0], ff=field("llama.feed_forward_length"),
                 width=field("llama.embedding_length"), heads=field("llama.attention.head_count"),
                 kv_heads=field("llama.attention.head_count_kv"), blocks=field("llama.block_count"),
                 context=field("llama.context_length"),
                 rope_base=float(field("llama.rope.freq_base", 10000.0)),
                 eps=float(field("llama.attention.layer_norm_rms_epsilon")),
                 tied="output.weight" not in tensors)
    model = Llama(cfg)
    model.load_state_dict({n: torch.from_numpy(np.array(t, dtype=np.float32))
                           for n, t in tensors.items()})
    return model.eval()
