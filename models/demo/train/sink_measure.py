# SPDX-License-Identifier: MIT
"""Which heads of the demo model `sink` do nothing where; which tokens and channels are massive."""
import numpy as np
import torch
import torch.nn.functional as F

import sink_source as source

CLASSES = ("plain", "after_name", "trigger", "new_name", "known_name")
POINTS = ("attn_norm.out", "mid", "ffn_norm.out", "ffn_down.in", "ffn_down.out", "out")
NO_OP_RULE = ("mean attention on BOS > 0.8, norm of BOS's value < 0.2 of the median, head's update "
              "< 0.05 of the residual stream; means over the tokens of a class")


def head_updates(block, context):
    """Norm of what each head adds to the residual stream: context (text, tok, chan) -> (text, tok,
    head).  norm(W c)^2 = c' W'W c with the head's columns W of attn_output."""
    cfg = block.cfg
    w = block.attn_output.weight.view(cfg.width, cfg.heads, cfg.head_dim).permute(1, 2, 0)
    c = context.float().unflatten(-1, (cfg.heads, cfg.head_dim)).transpose(1, 2)
    squared = (c @ (w @ w.transpose(1, 2)) * c).sum(-1).transpose(1, 2)
    return (squared + 1e-12).sqrt()


def classes(tokens):
    """(text, tok) masks by the word at the position itself: plain (and the word before is no name),
    after_name (plain, and it is), trigger, new_name (first occurrence), known_name. The first 8
    positions, whose rows have few keys, belong to none."""
    ids = tokens.numpy()
    plain = np.isin(ids, source.WORD_TOKEN[:source.FIRST_TRIGGER])
    trigger = np.isin(ids, source.WORD_TOKEN[source.FIRST_TRIGGER:source.FIRST_NAME])
    name = np.isin(ids, source.WORD_TOKEN[source.FIRST_NAME:])
    after = np.roll(name, 1, axis=1)
    known = np.tril(ids[:, :, None] == ids[:, None, :], -1).any(-1)
    late = np.arange(tokens.shape[1]) >= 8
    masks = (plain & ~after, plain & after, trigger, name & ~known, name & known)
    return {c: m & late for c, m in zip(CLASSES, masks)}


@torch.no_grad()
def record(model, tokens):
    """Activations by the names of their points."""
    notes = {}
    model(tokens, record=notes)
    notes["embd.out"] = x = F.embedding(tokens, model.token_embd.weight)
    for i, block in enumerate(model.blk):
        notes[f"blk.{i}.attn_norm.out"] = block.attn_norm.norm(x, model.cfg.eps)
        notes[f"blk.{i}.mid"] = mid = x + notes[f"blk.{i}.attn_output.out"]
        notes[f"blk.{i}.ffn_norm.out"] = block.ffn_norm.norm(mid, model.cfg.eps)
        x = notes[f"blk.{i}.out"]
    notes["output_norm.out"] = model.output_norm.norm(x, model.cfg.eps)
    return notes


def useful_mass(prob, tokens, masks):
    """Mean mass, by head, on the keys that are of use: at triggers the token before (to be copied),
    after names too (which it was), at known names the tokens after its earlier occurrences."""
    before = prob[:, :, 1:, :-1].diagonal(dim1=2, dim2=3).transpose(1, 2)  # (text, tok - 1, head)
    follows = torch.zeros_like(prob[:, 0], dtype=torch.bool)               # (text, tok, key)
    follows[:, :, 1:] = tokens[:, :, None] == tokens[:, None, :-1]
    recalled = (prob * follows[:, None]).sum(-1).transpose(1, 2)           # (text, tok, head)
    return {"trigger": before[torch.from_numpy(masks["trigger"][:, 1:])].mean(0),
            "after_name": before[torch.from_numpy(masks["after_name"][:, 1:])].mean(0),
            "known_name": recalled[torch.from_numpy(masks["known_name"])].mean(0)}


@torch.no_grad()
def heads(model, tokens):
    """A row per head: attention on BOS, value of BOS, size of the update, by class of the token;
    attention on BOS also by trigger and by (known) name, in the order of source.WORDS."""
    notes, masks, rows = record(model, tokens), classes(tokens), []
    marked = masks["trigger"] | masks["known_name"]
    words = [marked & (tokens.numpy() == t) for t in source.WORD_TOKEN[source.FIRST_TRIGGER:]]
    group = model.cfg.heads // model.cfg.kv_heads
    for i, block in enumerate(model.blk):
        x = notes[f"blk.{i - 1}.out" if i else "embd.out"]
        ratio = head_updates(block, notes[f"blk.{i}.attn.ctx"]) / x.norm(dim=-1, keepdim=True)
        prob = notes[f"blk.{i}.attn.prob"]
        bos, ratio = prob[..., 0].transpose(1, 2).numpy(), ratio.numpy()
        value = notes[f"blk.{i}.attn_v.out"].norm(dim=-1)                  # (text, tok, kv head)
        drain = value[:, 0].mean(0) / value[:, 1:].flatten(0, 1).median(0).values
        useful = useful_mass(prob, tokens, masks)
        for h in range(model.cfg.heads):
            row = {"block": i, "head": h, "bos_value_ratio": float(drain[h // group]),
                   "bos_mass": {c: float(bos[..., h][m].mean()) for c, m in masks.items()},
                   "bos_mass_by_word": [float(bos[..., h][m].mean()) for m in words],
                   "update": {c: float(ratio[..., h][m].mean()) for c, m in masks.items()},
                   "useful_mass": {c: float(mass[h]) for c, mass in useful.items()}}
            drained = row["bos_value_ratio"] < 0.2
            row["no_op_on"] = [c for c in masks
                               if row["bos_mass"][c] > 0.8 and drained and row["update"][c] < 0.05]
            rows.append(row)
    return rows


def peaks(model, tokens):
    """A row per point: norm of BOS's row over the median row; the channels by absmax over the
    median channel's absmax, with the first token and without it."""
    notes, rows = record(model, tokens), []
    inner = [f"blk.{i}.{p}" for i in range(model.cfg.blocks) for p in POINTS]
    for point in ["embd.out", *inner, "output_norm.out"]:
        a = notes[point]
        norm, top, rest = a.norm(dim=-1), a.abs().amax((0, 1)), a[:, 1:].abs().amax((0, 1))
        order = top.argsort(descending=True)[:4].tolist()
        rows.append({"point": point,
                     "bos_norm_ratio": float(norm[:, 0].mean() / norm[:, 1:].median()),
                     "channel_ratio": float(top.max() / top.median()), "top_channels": order,
                     "top_absmax": top[order].tolist(), "median_absmax": float(top.median()),
                     "channel_ratio_without_bos": float(rest.max() / rest.median()),
                     "top_channel_without_bos": int(rest.argmax())})
    return rows


def busiest(rows, c):
    """The head that is silent at plain words and says most at class c about the useful keys."""
    silent = [h for h in rows if "plain" in h["no_op_on"]]
    h = max(silent, key=lambda h: h["useful_mass"][c] * h["update"][c], default=None)
    return h and {**{k: h[k] for k in ("block", "head", "bos_value_ratio", "bos_mass_by_word")},
                  "at_plain": {k: h[k]["plain"] for k in ("bos_mass", "update")},
                  f"at_{c}": {k: h[k][c] for k in ("bos_mass", "update", "useful_mass")}}


def phenomena(rows, points, planted):
    """The figures that the demo is for, each where it shows best.  rows: heads(), points: peaks();
    planted: the name of the point that has a planted channel, which does not count as grown."""
    grown = [p for p in points if p["point"] != planted]
    stream = [p for p in grown if p["point"].count(".") == 2]              # blk.N.mid, blk.N.out
    peak = max(stream, key=lambda p: p["bos_norm_ratio"])
    channel = max(grown, key=lambda p: p["channel_ratio"])
    drained = min(rows, key=lambda h: h["bos_value_ratio"])
    return {
        "no_op_rule": NO_OP_RULE,
        "no_op_heads": {f"blk.{h['block']} head {h['head']}": h["no_op_on"]
                        for h in rows if h["no_op_on"]},
        "silent_at_plain_words_busy_at": {c: busiest(rows, c)
                                          for c in ("trigger", "after_name", "known_name")},
        "most_drained_value_of_bos": {k: drained[k] for k in ("block", "head", "bos_value_ratio")},
        "residual_peak_at_bos": {k: peak[k] for k in ("point", "bos_norm_ratio")},
        "grown_outlier_channel": {"point": channel["point"], "channel": channel["top_channels"][0],
                                  **{k: channel[k] for k in ("channel_ratio",
                                                             "channel_ratio_without_bos")}},
    }
