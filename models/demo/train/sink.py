# SPDX-License-Identifier: MIT
"""Train, export and measure the demo model `sink`: attention sinks and massive activations, in a
text whose next-word law is known (sink_source.py).

    python sink.py train  [--out sink.gguf] [--checkpoint FILE]   train and write the GGUF file
    python sink.py report FILE sink.json [--llama BIN]            figures on held-out texts
    python sink.py text   N                                       N held-out texts in a row

Trained in three stages: short texts rich in triggers and names, texts of the true law, long ones.
Beside the cross-entropy each head pays for speaking: PRICE * r / (r + HALF) nats at every token,
r = norm(head's update) / norm(residual stream), so that little is charged for how loud it speaks.
A head that has nothing to say at a token is thereby taught to write nothing, and the only way to
that under a softmax is to look at a token whose value is nothing: the sink at BOS and its drained
value state.  One outlier channel is planted after training, see plant(); nothing else is.
"""
import argparse
import functools
import json
import os
import re
import subprocess
import tempfile

import gguf
import numpy as np
import torch
import torch.nn.functional as F

import common
import sink_measure as measure
import sink_source as source

CONTEXT = 256
CONFIG = common.Config(vocab=len(source.TOKENS), ff=256, context=CONTEXT, rope_base=1000.0)
RICH = np.array([42, 26, 16, 10, 6, 6, 60, 90])     # of 256: the weights of the first stage
STAGES = [                                          # steps, texts in a batch, words, weights
    (1400, 12, 64, RICH),
    (2000, 8, 128, source.WEIGHT),
    (2800, 4, CONTEXT - 1, source.WEIGHT),
]
PRICE = {64: 0.001, 128: 0.003, CONTEXT - 1: 0.003}  # nats per head, by the number of words
HALF = 0.03
LR, DECAY = 2e-3, 0.1
SEED = 1
DESCRIPTION = (
    "A demo model for looking at attention sinks, drained value states and massive activations, "
    "trained by the scripts of the qdb project on a text of pseudo-words whose exact next-word law "
    "is in qdb.source.*, with a small price on every head that writes to the residual stream. All "
    "that grew in training; one outlier channel is planted, without a change of the function: "
    "qdb.planted.* says where.")


# Training.

@functools.lru_cache(maxsize=1)
def drawn(stage, chunk):
    """Texts of 64 batches; every text of the training seed is used once."""
    _, batch, length, weight = STAGES[stage]
    first = stage * 1_000_000 + chunk * 64 * batch
    word, _ = source.texts(source.SEED_TRAIN, first, 64 * batch, length, weight)
    return torch.from_numpy(source.tokens_of(word))


def batch_of(step):
    for stage, (steps, batch, length, _) in enumerate(STAGES):
        if step < steps:
            chunk, i = divmod(step, 64)
            tokens = drawn(stage, chunk)[i * batch:(i + 1) * batch]
            return tokens, torch.ones(batch, length, dtype=torch.bool)
        step -= steps
    raise IndexError(step)


def priced_loss(model, tokens, mask, dtype):
    """Cross-entropy plus the price of the heads' updates; dtype: what products are rounded to."""
    cos, sin = common.rope_tables(model.cfg, tokens.shape[1] - 1)
    price = 0.0
    with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        x = F.embedding(tokens[:, :-1], model.token_embd.weight)
        for block in model.blk:
            kept = {}
            before, x = x, block(x, cos, sin, kept.__setitem__)
            with torch.autocast("cpu", enabled=False):
                ratio = measure.head_updates(block, kept["attn.ctx"])
                ratio = ratio / before.detach().float().norm(dim=-1, keepdim=True)
                price = price + (ratio / (ratio + HALF)).mean((0, 1)).sum()
        logits = model.head(x)
    return F.cross_entropy(logits[mask], tokens[:, 1:][mask]) + PRICE[tokens.shape[1] - 1] * price


def held_out(count):
    """Token ids (text, CONTEXT) of the first held-out texts and the kinds of law of their words."""
    word, kind = source.texts(source.SEED_TEST, 0, count, CONTEXT - 1)
    return torch.from_numpy(source.tokens_of(word)), kind


@torch.no_grad()
def evaluate(model, tokens):
    """log-probabilities (text, word, vocabulary) of the next tokens, float64."""
    return torch.cat([model(part[:, :-1]).double().log_softmax(-1) for part in tokens.split(8)])


def loss_of(log_q, tokens):
    return -log_q.gather(2, tokens[:, 1:, None])[..., 0].numpy()


def progress(step, model):
    tokens, kind = held_out(8)
    loss = loss_of(evaluate(model, tokens), tokens)
    kinds = " ".join(f"{name} {loss[kind == k].mean():.3f}" for k, name in enumerate(source.KINDS))
    rows, points = measure.heads(model, tokens), measure.peaks(model, tokens)
    silent = sum("plain" in h["no_op_on"] for h in rows)
    peak = max(points, key=lambda p: p["channel_ratio"])
    excess = (loss - source.entropy_table()[kind]).mean()
    return (f"excess {excess:.4f} ({kinds}), {silent} silent heads, "
            f"channel {peak['top_channels'][0]} {peak['channel_ratio']:.0f} x at {peak['point']}")


def train(args):
    model = common.Llama(CONFIG, seed=SEED)
    steps = sum(stage[0] for stage in STAGES)
    spent = common.train(model, batch_of, steps, lr=LR, weight_decay=DECAY, betas=(0.9, 0.98),
                         checkpoint=args.checkpoint, report=progress, loss_fn=priced_loss)
    extra = {**source.metadata(), **plant(model), "qdb.train.minutes": round(spent / 60, 1)}
    common.export(model, args.out, tokenizer, "f16", "sink", DESCRIPTION, extra,
                  kinds={"token_embd.weight": "q8_0"})   # one tensor that has blocks to look at


# The file.

PLANTED_BLOCK, PLANTED_POWER = 2, 6


@torch.no_grad()
def plant(model):
    """One outlier channel that is there at every token, without a change of the function: in front
    of one feed-forward the norm's gain of a channel is multiplied by 2^PLANTED_POWER and the
    columns that read it are divided by it. It is the channel that is largest at the typical token.
    Returns metadata."""
    block, point = model.blk[PLANTED_BLOCK], f"blk.{PLANTED_BLOCK}.ffn_norm.out"
    x = measure.record(model, held_out(8)[0])[point][:, 1:]
    channel = int(x.abs().flatten(0, 1).median(0).values.argmax())
    block.ffn_norm.weight[channel] *= 2 ** PLANTED_POWER
    for reader in (block.ffn_gate, block.ffn_up):
        reader.weight[:, channel] /= 2 ** PLANTED_POWER
    return {"qdb.planted.point": point, "qdb.planted.channel": channel,
            "qdb.planted.power": PLANTED_POWER}


def tokenizer(w):
    types = [common.NORMAL] * len(source.TOKENS)
    types[source.BOS] = common.CONTROL
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(source.TOKENS)
    w.add_token_types(types)
    w.add_token_merges([" ".join(m) for m in source.MERGES])
    w.add_bos_token_id(source.BOS)
    w.add_eos_token_id(source.BOS)
    w.add_add_bos_token(True)
    w.add_add_eos_token(False)
    w.add_add_space_prefix(False)


# The figures.

def laws(word, kind):
    """The law of each word of some texts as probabilities (text, word, vocabulary), from the
    source's tables; `word` and `kind` as source.texts() gives them."""
    law = np.zeros((*word.shape, len(source.TOKENS)))
    text, at = np.nonzero(kind == source.AFTER_BOS)
    law[text[:, None], at[:, None], source.WORD_TOKEN[:source.PLAIN]] = 1 / source.PLAIN
    text, at = np.nonzero(kind == source.AFTER_NEW_NAME)
    own = source.FIRSTS[word[text, at - 1] - source.FIRST_NAME]
    law[text[:, None], at[:, None], source.WORD_TOKEN[own]] = 1 / own.shape[1]
    text, at = np.nonzero(np.isin(kind, (source.AFTER_TRIGGER, source.AFTER_KNOWN_NAME)))
    law[text, at, source.WORD_TOKEN[word[text, at]]] = 1
    text, at = np.nonzero(kind == source.AFTER_PLAIN)
    successors = source.WORD_TOKEN[source.TABLE[word[text, at - 1]]]
    law[text[:, None], at[:, None], successors] = source.WEIGHT / 256
    return law


def quality(model, texts=64):
    """Loss against the law on held-out texts; error bars take a text as one observation."""
    word, kind = source.texts(source.SEED_TEST, 0, texts, CONTEXT - 1)
    tokens = torch.from_numpy(source.tokens_of(word))
    log_q, law = evaluate(model, tokens), laws(word, kind)
    loss, entropy, best = loss_of(log_q, tokens), source.entropy_table()[kind], law.max(-1)
    hit = (log_q.argmax(-1) == tokens[:, 1:]).numpy()
    kl = (law * (np.log(np.maximum(law, 1e-300)) - log_q.numpy())).sum(-1)

    def bar(x):
        return float(x.mean(1).std(ddof=1) / np.sqrt(texts))

    def mean(x, where=...):
        return float(x[where].mean())

    by_law = []
    for k, name in enumerate(source.KINDS):
        at = kind == k
        by_law.append({"law": name, "share": mean(at), "entropy": mean(entropy, at),
                       "loss": mean(loss, at), "kl": mean(kl, at), "top1": mean(hit, at),
                       "best_top1": mean(best, at)})
    return {"texts": texts, "words": int(kind.size), "seed": source.SEED_TEST,
            "loss": mean(loss), "entropy": mean(entropy),
            "loss_minus_entropy": mean(loss - entropy),
            "loss_minus_entropy_error": bar(loss - entropy),
            "kl_law_model": mean(kl), "kl_law_model_error": bar(kl),
            "perplexity": float(np.exp(loss.mean())),
            "perplexity_of_law": float(np.exp(entropy.mean())),
            "top1": mean(hit), "best_top1": mean(best), "by_law": by_law}


def running_text(texts):
    """Held-out texts in a row, for an engine that cuts a file into chunks of CONTEXT tokens and
    puts BOS in place of the first of each: every text but the first has a word more in front,
    which is the one replaced."""
    word, _ = source.texts(source.SEED_TEST, 0, texts, CONTEXT - 1)
    return source.text_of(np.insert(word.reshape(-1), np.arange(1, texts) * (CONTEXT - 1), 0))


def llama_cpp(path, model, folder, texts=24):
    """Tokens and perplexity of running_text() by llama.cpp's programs in `folder`, beside our own
    figures, and its perplexities of the file with every matrix in one format. Scored are the
    positions CONTEXT / 2 and later."""
    tokens, kind = held_out(texts)
    at = slice(CONTEXT // 2, None)
    loss = loss_of(evaluate(model, tokens), tokens)[:, at]
    with tempfile.TemporaryDirectory() as tmp:
        name = os.path.join(tmp, "text")
        with open(name, "w", encoding="ascii") as f:
            f.write(running_text(texts))

        def call(program, *options):
            out = subprocess.run([f"{folder}/{program}", *options], capture_output=True, text=True,
                                 check=True)
            return out.stdout + out.stderr

        def perplexity(file):
            out = call("llama-perplexity", "-m", file, "-f", name, "-c", str(CONTEXT),
                       "-b", str(CONTEXT), "-t", "1")
            return map(float, re.search(r"PPL = ([\d.]+) \+/- ([\d.]+)", out).groups())

        ids = json.loads(re.search(r"^\[[\d, ]+\]", call(
            "llama-tokenize", "-m", path, "-f", name, "--ids", "--log-disable"), re.M)[0])
        theirs, error = perplexity(path)
        quantized = {}
        for qtype in ("q8_0", "q4_k", "q3_k", "q2_k"):
            file = os.path.join(tmp, qtype)
            call("llama-quantize", "--allow-requantize", "--pure", "--token-embedding-type", qtype,
                 "--output-tensor-type", qtype, path, file, qtype, "1")
            quantized[qtype] = next(perplexity(file))
    expected = tokens.numpy().copy()
    expected[1:, 0] = source.WORD_TOKEN[0]
    return {"texts": texts, "context": CONTEXT, "words": tokens.numel() - 1,
            "tokens_agree": ids == expected.reshape(-1).tolist(),
            "perplexity": theirs, "perplexity_error": error, "quantized": quantized,
            "perplexity_here": float(np.exp(loss.mean())),
            "perplexity_of_law": float(np.exp(source.entropy_table()[kind][:, at].mean()))}


def planted(model, tokens, path):
    """The planted channel as the file's metadata tell it, and at how many tokens it is largest."""
    reader = gguf.GGUFReader(path)
    told = {k: reader.get_field(f"qdb.planted.{k}").contents()
            for k in ("point", "channel", "power")}
    x = measure.record(model, tokens)[told["point"]][:, 1:].abs()
    largest = (x.argmax(-1) == told["channel"]).float().mean()
    return {**told, "share_of_tokens_where_largest": float(largest)}


def report(args):
    model = common.load(args.file)
    tokens, _ = held_out(32)
    rows, points = measure.heads(model, tokens), measure.peaks(model, tokens)
    channel = planted(model, tokens, args.file)
    out = {"file": os.path.basename(args.file), "bytes": os.path.getsize(args.file),
           "quality": quality(model), "planted": channel,
           "phenomena": measure.phenomena(rows, points, channel["point"])}
    if args.llama:
        out["llama.cpp"] = llama_cpp(args.file, model, args.llama)
    print(json.dumps(rounded(out), indent=1))
    out["heads"], out["peaks"] = rows, points
    with open(args.json, "w", encoding="ascii") as f:
        f.write(dump(rounded(out)))


def rounded(x, digits=6):
    if isinstance(x, float):
        return float(f"%.{digits}g" % x)
    if isinstance(x, dict):
        return {k: rounded(v, digits) for k, v in x.items()}
    return [rounded(v, digits) for v in x] if isinstance(x, list) else x


def dump(o):
    """JSON, one line per entry of the object and per row of a list in it."""
    def lines(v):
        if isinstance(v, list):
            return "[\n" + ",\n".join(" " + json.dumps(row) for row in v) + "\n]"
        return json.dumps(v)
    return "{\n" + ",\n".join(f'"{k}": {lines(v)}' for k, v in o.items()) + "\n}\n"


def main():
    parser = argparse.ArgumentParser(description="The demo model `sink`.")
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("train")
    p.add_argument("--out", default="sink.gguf")
    p.add_argument("--checkpoint")
    p = commands.add_parser("report")
    p.add_argument("file")
    p.add_argument("json")
    p.add_argument("--llama")
    p = commands.add_parser("text")
    p.add_argument("texts", type=int)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.command == "text":
        print(running_text(args.texts), end="")
    else:
        {"train": train, "report": report}[args.command](args)


if __name__ == "__main__":
    main()
