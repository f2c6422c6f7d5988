# SPDX-License-Identifier: MIT
"""Train, export and evaluate the demo model `add`: integer addition, digits of the sum reversed.

    python add.py train  [--steps N] [--threads N] [--out FILE]  train and write the GGUF file
    python add.py eval   FILE...                                 exact match and log-probabilities
    python add.py golden FILE OUT                                the list that the tests read
    python add.py report FILE add.json --llama BIN               figures, of quantized files too
    python add.py text   N                                       N held-out sums as lines of text

A line is `A+B=R\\n`: A and B are decimal integers of 1 to 5 digits without leading zeros, R is the
digits of A+B, least significant first (12345+678=32031), so that each digit depends on the digits
of its own place and the place before.  A prompt is BOS and `A+B=`; the answer is R and the newline,
which is the file's end-of-sequence token.

A pair is held out of training when uint32((A * 100000 + B) * 2654435761) >> 28 is 0: one of 16.

The carry length of a sum is how far its longest-travelling carry goes: a place whose two digits sum
to ten or more sends one out, and each further place whose digits sum to exactly nine passes it on;
the length is the number of carries in the longest such chain, 0 when there is none.
"""
import argparse
import hashlib
import json
import os
import re
import subprocess
import tempfile

import gguf
import numpy as np
import torch

import common

MAX_DIGITS = 5
CHARS = "0123456789+=\u2581"                    # U+2581 is how SentencePiece writes a space
FIRST = 259                                     # id of "0": after <unk> <s> </s> and 256 bytes
VOCAB = common.base_vocab() + [(c, 0.0, common.NORMAL) for c in CHARS]
PAD = 0
ROW, LONG = 21, 64                              # tokens of a training row: one or two sums; a list
PROMPT_WEIGHT = 0.05                            # of a prompt's token in the loss; an answer's has 1


# Sums.  Operands are digit arrays (n, 5), least significant first, zero above their length.

def digits_of(x, n):
    return x[:, None] // 10 ** np.arange(n) % 10


def value_of(d):
    return d @ 10 ** np.arange(d.shape[1])


def held_out(a, b):
    key = (a.astype(np.uint64) * 100000 + b.astype(np.uint64)) * 2654435761
    return (key & 0xFFFFFFFF) >> 28 == 0


def carry_length(a, b):
    """The module's definition, for arrays of integers."""
    s = digits_of(a, MAX_DIGITS) + digits_of(b, MAX_DIGITS)
    longest = run = np.zeros(len(a), dtype=np.int64)
    for i in range(MAX_DIGITS):
        run = np.where(s[:, i] >= 10, 1, np.where((s[:, i] == 9) & (run > 0), run + 1, 0))
        longest = np.maximum(longest, run)
    return longest


def draw(rng, la, lb):
    """Uniform operands of la and lb digits; a one-digit operand may be 0."""
    a, b = (rng.integers(0, 10, (len(n), MAX_DIGITS)) for n in (la, lb))
    place = np.arange(MAX_DIGITS)
    for x, n in ((a, la), (b, lb)):
        top = (place == n[:, None] - 1) & (n[:, None] > 1)
        x[:] = np.where(top, rng.integers(1, 10, x.shape), x)
        x[place >= n[:, None]] = 0
    return a, b


def plant_chain(rng, a, b, la, lb):
    """Overwrite digits so that a carry travels a uniformly drawn 1..min(la, lb) places."""
    n, place = len(la), np.arange(MAX_DIGITS)
    room = np.minimum(la, lb)
    length = rng.integers(1, room + 1)
    first = rng.integers(0, room - length + 1)
    born = place == first[:, None]
    passes = (place > first[:, None]) & (place < (first + length)[:, None])
    total = rng.integers(10, 19, (n, MAX_DIGITS))
    x = rng.integers(total - 9, 10)
    top = (place == la[:, None] - 1) | (place == lb[:, None] - 1)
    y = np.where(top, rng.integers(1, 9, a.shape), rng.integers(0, 10, a.shape))
    a = np.where(born, x, np.where(passes, y, a))
    b = np.where(born, total - x, np.where(passes, 9 - y, b))
    return a, b


def training_sums(rng, n):
    """Half of them 5 + 5 digits, the others of any lengths; in half a carry chain is planted."""
    out_a, out_b, have = [], [], 0
    while have < n:
        la, lb = rng.integers(1, MAX_DIGITS + 1, (2, n))
        full = rng.random(n) < 0.5
        la, lb = np.where(full, MAX_DIGITS, la), np.where(full, MAX_DIGITS, lb)
        a, b = draw(rng, la, lb)
        pa, pb = plant_chain(rng, a, b, la, lb)
        plant = (rng.random(n) < 0.5)[:, None]
        a, b = value_of(np.where(plant, pa, a)), value_of(np.where(plant, pb, b))
        keep = ~held_out(a, b)
        out_a.append(a[keep]), out_b.append(b[keep])
        have += keep.sum()
    return np.concatenate(out_a)[:n], np.concatenate(out_b)[:n]


def held_out_sums(rng, n, carry=None):
    """n held-out sums of two 5-digit operands: uniform, or uniform among those of one carry length
    as far as planting a chain and rejecting what came out longer allows."""
    five = np.full(4096, MAX_DIGITS)
    out_a, out_b, have = [], [], 0
    while have < n:
        a, b = draw(rng, five, five)
        if carry:
            a, b = plant_chain(rng, a, b, five, five)
        a, b = value_of(a), value_of(b)
        keep = held_out(a, b)
        if carry is not None:
            keep &= carry_length(a, b) == carry
        out_a.append(a[keep]), out_b.append(b[keep])
        have += keep.sum()
    return np.concatenate(out_a)[:n], np.concatenate(out_b)[:n]


# Tokens.

def line(a, b):
    return f"{a}+{b}={str(a + b)[::-1]}\n"


IDS = {c: FIRST + i for i, c in enumerate(CHARS)} | {"\n": common.NEWLINE}


def rows(rng, n, length):
    """n training rows: BOS and as many lines as fit, the last one cut.
    -> tokens (n, length), weight of each but the first in the loss (n, length - 1)"""
    tokens = np.full((n, length), PAD, dtype=np.int64)
    weights = np.empty((n, length - 1), dtype=np.float32)
    a, b = training_sums(rng, n * (1 + length // 4))
    pairs = iter(zip(a.tolist(), b.tolist()))
    for r in range(n):
        ids, weight = [common.BOS], [0.0]
        while len(ids) < length:
            x, y = next(pairs)
            text = line(x, y)
            head = text.index("=") + 1
            ids += [IDS[c] for c in text]
            weight += [PROMPT_WEIGHT] * head + [1.0] * (len(text) - head)
        tokens[r] = ids[:length]
        weights[r] = weight[1:length]
    return tokens, weights


def make_batch(seed, size):
    """Every fourth batch is of long rows (lists of sums); all have about as many tokens."""
    def batch(step):
        rng = np.random.default_rng([seed, step])
        n, length = (size * ROW // LONG, LONG) if step % 4 == 3 else (size, ROW)
        return tuple(torch.from_numpy(x) for x in rows(rng, n, length))
    return batch


# Evaluation.  Greedy decoding gives the right answer exactly when every token of it is the arg max
# after the right prefix, so one pass over the whole line measures everything.

@torch.no_grad()
def score(model, a, b, size=500):
    """-> right (n, 7) and log-probability (n, 7) of the answer's tokens, digits then newline; where
    the answer is shorter right is True and the log-probability NaN."""
    right = np.ones((len(a), 7), dtype=bool)
    logp = np.full((len(a), 7), np.nan)
    for s in range(0, len(a), size):
        lines = [line(x, y) for x, y in zip(a[s:s + size].tolist(), b[s:s + size].tolist())]
        ids = torch.full((len(lines), 1 + max(map(len, lines))), PAD)
        for i, text in enumerate(lines):
            ids[i, :1 + len(text)] = torch.tensor([common.BOS] + [IDS[c] for c in text])
        logits = model(ids[:, :-1])
        lp = logits.log_softmax(-1).gather(2, ids[:, 1:, None])[:, :, 0].numpy()
        hit = (logits.argmax(-1) == ids[:, 1:]).numpy()
        for i, text in enumerate(lines):
            head = text.index("=") + 1          # row t of logits predicts character t of the line
            n = len(text) - head
            right[s + i, :n] = hit[i, head:len(text)]
            logp[s + i, :n] = lp[i, head:len(text)]
    return right, logp


def digit_logp(logp):
    """Log-probabilities of the answers' digits alone: each row without its newline."""
    last = (~np.isnan(logp)).sum(1) - 1
    out = logp.copy()
    out[np.arange(len(out)), last] = np.nan
    return out


@torch.no_grad()
def greedy(model, a, b, most=8):
    """The answers that greedy decoding gives, as text without the newline, one prompt at a time."""
    answers = []
    for x, y in zip(a.tolist(), b.tolist()):
        ids = [common.BOS] + [IDS[c] for c in f"{x}+{y}="]
        text = ""
        while len(text) < most:
            t = int(model(torch.tensor([ids]))[0, -1].argmax())
            if t == common.NEWLINE:
                break
            ids.append(t)
            text += CHARS[t - FIRST] if t >= FIRST else "?"
        answers.append(text)
    return answers


def figures(model, n=4000, per_carry=1000, seed=1):
    """The model's figures on fixed held-out lists."""
    rng = np.random.default_rng(seed)
    a, b = held_out_sums(rng, n)
    right, logp = score(model, a, b)
    digits = digit_logp(logp)
    out = {"sums": n, "seed": seed, "exact": float(right.all(1).mean()),
           "digit_right": [float(right[:, i][~np.isnan(digits[:, i])].mean()) for i in range(6)],
           "digit_logp": float(np.nanmean(digits)), "per_carry_sums": per_carry, "carry_exact": []}
    for c in range(MAX_DIGITS + 1):
        right, _ = score(model, *held_out_sums(rng, per_carry, c))
        out["carry_exact"].append(float(right.all(1).mean()))
    any_a, any_b = (value_of(x) for x in draw(rng, *rng.integers(1, MAX_DIGITS + 1, (2, n))))
    right, _ = score(model, any_a, any_b)
    out["any_length_exact"] = float(right.all(1).mean())
    return out


@torch.no_grad()
def perplexity(model, text, context=LONG):
    """Second-half protocol: chunks of `context` tokens, the first token of each replaced by BOS,
    the tokens from context / 2 + 1 on scored.  -> (perplexity, scored tokens)"""
    ids = [common.BOS] + [IDS[c] for c in text]
    n = len(ids) // context
    tokens = torch.tensor(ids[:n * context]).view(n, context)
    tokens[:, 0] = common.BOS
    half = context // 2
    lp = model(tokens)[:, half:-1].log_softmax(-1).gather(2, tokens[:, half + 1:, None])
    return float((-lp.mean()).exp()), lp.numel()


def brief(f):
    return (f"exact {f['exact']:.4f} logp {f['digit_logp']:.5f} any {f['any_length_exact']:.4f} "
            "carry " + " ".join(f"{c:.3f}" for c in f["carry_exact"]))


# Commands.

DESCRIPTION = (
    "Adds two integers of up to 5 digits; the sum's digits come least significant first: "
    "12345+678= gives 32031 and a newline. A 4-block Llama of width 256 made for qdb, trained from "
    "random weights by models/demo/train/add.py on {sums:.1f} million random sums "
    "({steps} steps of AdamW, seed {seed}); one pair of operands in 16 was held out.")


def command_train(args):
    cfg = common.Config(vocab=len(VOCAB), ff=args.ff, context=LONG, rope_base=1000.0)
    model = common.Llama(cfg, seed=args.seed)

    def report(step, m):
        wanted = step % (5 * args.every) == 0 or step == args.steps
        return brief(figures(m, 500, 200)) if wanted else ""

    spent = common.train(model, make_batch(args.seed, args.batch), args.steps, lr=args.lr,
                         weight_decay=args.weight_decay, checkpoint=args.checkpoint, report=report,
                         every=args.every)
    sums = args.steps * args.batch / 1e6                # a row of 21 tokens holds about one sum
    extra = {"qdb.task": "add", "qdb.task.prompt": "{a}+{b}=",
             "qdb.task.answer": "digits of a+b, least significant first, then a newline",
             "qdb.task.max_digits": MAX_DIGITS,
             "qdb.task.held_out": "uint32((a * 100000 + b) * 2654435761) >> 28 == 0"}
    common.export(model, args.out, common.sentencepiece(VOCAB, eos=common.NEWLINE),
                  args.kind, "add", DESCRIPTION.format(sums=sums, steps=args.steps, seed=args.seed),
                  extra)
    print(f"trained in {spent / 60:.1f} minutes on {args.threads} threads")


def command_eval(args):
    for path in args.files:
        f = figures(common.load(path), args.n, args.per_carry)
        print(json.dumps({"file": os.path.basename(path), **f}))


def command_report(args):
    """add.json: the file's figures, those of its uniform q4_k and q2_k quantizations made by
    llama-quantize, and what llama.cpp itself (its programs in args.llama) makes of the file."""
    def tool(name, *words):
        return subprocess.run([os.path.join(args.llama, name), *words], check=True, text=True,
                              capture_output=True)
    model = common.load(args.file)
    sums = sum_lines(2000)
    ppl, scored = perplexity(model, sums)
    out = {"what": "figures of models/demo/add.gguf, written by models/demo/train/add.py report",
           "sha256": hashlib.sha256(open(args.file, "rb").read()).hexdigest(),
           "trained_minutes": args.minutes, "file": figures(model),
           "ppl": {"text": "add.py text 2000", "context": LONG, "scored": scored, "ppl": ppl}}
    with tempfile.TemporaryDirectory() as tmp:
        text = os.path.join(tmp, "sums.txt")
        with open(text, "w") as f:
            f.write(sums)
        for kind in ("q8_0", "q4_k", "q3_k", "q2_k"):
            path = os.path.join(tmp, kind + ".gguf")
            tool("llama-quantize", "--pure", "--token-embedding-type", kind, "--output-tensor-type",
                 kind, args.file, path, {"q3_k": "q3_k_m"}.get(kind, kind), "1")
            types = {t.tensor_type.name.lower() for t in gguf.GGUFReader(path).tensors
                     if len(t.shape) == 2}
            assert types == {kind}, types
            out[kind] = figures(common.load(path))
        log = tool("llama-perplexity", "-m", args.file, "-f", text, "-c", str(LONG), "-t", "1")
        out["llama.cpp"] = {"ppl": float(re.search(r"PPL = ([0-9.]+)", log.stdout + log.stderr)[1])}
    a, b = held_out_sums(np.random.default_rng(13), 50)
    right = 0
    for x, y in zip(a.tolist(), b.tolist()):
        for _ in range(9):                      # a busy machine may cut short what it prints
            said = tool("llama-completion", "-m", args.file, "-p", f"{x}+{y}=", "-n", "8", "--temp",
                        "0", "-no-cnv", "--no-warmup", "-t", "1").stdout
            if "[end of text]" in said:
                break
        right += line(x, y).strip() in said.split()
    out["llama.cpp"].update({"sums": len(a), "exact": right / len(a)})
    with open(args.out, "w") as f:
        json.dump(out, f, indent=1)
        f.write("\n")


def command_golden(args):
    model = common.load(args.file)
    rng = np.random.default_rng(7)
    lists = [held_out_sums(rng, 80)] + [held_out_sums(rng, 20, c) for c in range(MAX_DIGITS + 1)]
    a, b = (np.concatenate(x) for x in zip(*lists))
    logp = score(model, a, b)[1]
    digits = np.nansum(digit_logp(logp), 1)
    newline = np.nansum(logp, 1) - digits
    with open(args.out, "w") as f:
        f.write("# a b right-answer greedy-answer carry-length digits-logp newline-logp (nats)\n")
        for x, y, text, c, d, n in zip(a, b, greedy(model, a, b), carry_length(a, b), digits,
                                       newline):
            f.write(f"{x} {y} {str(x + y)[::-1]} {text} {c} {d:.7g} {n:.7g}\n")


def sum_lines(n):
    return "".join(line(a, b) for a, b in
                   zip(*(x.tolist() for x in held_out_sums(np.random.default_rng(11), n))))


def command_text(args):
    print(sum_lines(args.n), end="")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--threads", type=int, default=1)
    sub = p.add_subparsers(dest="command", required=True)
    t = sub.add_parser("train")
    t.add_argument("--steps", type=int, default=1300)
    t.add_argument("--batch", type=int, default=256, help="rows of 21 tokens")
    t.add_argument("--lr", type=float, default=7e-4)
    t.add_argument("--weight-decay", type=float, default=0.0)
    t.add_argument("--ff", type=int, default=256)
    t.add_argument("--seed", type=int, default=1)
    t.add_argument("--kind", default="f16", choices=("f32", "f16", "q8_0"))
    t.add_argument("--every", type=int, default=100)
    t.add_argument("--checkpoint")
    t.add_argument("--out", default="add.gguf")
    e = sub.add_parser("eval")
    e.add_argument("files", nargs="+")
    e.add_argument("-n", type=int, default=4000)
    e.add_argument("--per-carry", type=int, default=1000)
    g = sub.add_parser("golden")
    g.add_argument("file")
    g.add_argument("out")
    r = sub.add_parser("report")
    r.add_argument("file")
    r.add_argument("out")
    r.add_argument("--llama", required=True, help="folder of llama.cpp's programs")
    r.add_argument("--minutes", type=float, help="what train printed")
    x = sub.add_parser("text")
    x.add_argument("n", type=int)
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    globals()["command_" + args.command](args)


if __name__ == "__main__":
    main()
