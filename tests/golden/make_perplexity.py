# SPDX-License-Identifier: MIT
"""Perplexities of tiny models on text/prose.txt, by the protocol that peers use.

The whole text is tokenized once, special tokens not parsed, with a BOS in front where the
vocabulary says add_bos. The ids are cut in chunks of n_ctx; an incomplete last chunk is dropped.
Each chunk is computed by itself from position 0, its first id replaced by BOS where the vocabulary
says add_bos (in the first chunk it is one already, elsewhere a token of the text is lost).
Position p predicts the id at p + 1 of the same chunk; scored are p = n_ctx/2 .. n_ctx - 2, that is
n_ctx - 1 - n_ctx/2 positions a chunk. perplexity = exp(mean of -ln p) over all scored positions,
its error = perplexity * sqrt((mean of squares - square of mean) / (count - 1)).

    python make_perplexity.py [FILE]      # default: perplexity.json beside this script
"""

import math
import pathlib
import sys

import numpy as np

import common
import hf
import make_tokenizers

MODELS = ["llama-gqa-tied", "llama-gqa-tied-q8_0", "llama-gqa-tied-q4_0", "qwen2", "gpt2"]
N_CTX = 64


def log_probability(logits, ids):
    top = logits.max(axis=-1, keepdims=True)
    lse = top[:, 0] + np.log(np.exp(logits - top).sum(axis=-1))
    return logits[np.arange(len(ids)), ids] - lse


def perplexity(model, ids, n_ctx, bos):
    """(mean negative log-likelihood of each chunk, perplexity, its error)"""
    chunks, scores = [], []
    first = n_ctx // 2
    for start in range(0, len(ids) - n_ctx + 1, n_ctx):
        chunk = list(ids[start : start + n_ctx])
        if bos is not None:
            chunk[0] = bos
        logits = hf.logits(model, chunk)
        nll = -log_probability(logits[first : n_ctx - 1], chunk[first + 1 :])
        scores += nll.tolist()
        chunks.append(float(nll.mean()))
    mean = float(np.mean(scores))
    error = math.sqrt((np.mean(np.square(scores)) - mean**2) / (len(scores) - 1))
    return chunks, math.exp(mean), math.exp(mean) * error


def tokenize(vocab, text):
    plain = make_tokenizers.PlainBpe if vocab["model"] == "gpt2" else make_tokenizers.PlainSpm
    return ([vocab["bos"]] if vocab["add_bos"] else []) + plain(vocab).encode(text)


def main():
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else common.HERE / "perplexity.json"
    text = (common.TEXT / "prose.txt").read_text(encoding="utf-8")
    cases = []
    for name in MODELS:
        path = common.HERE / "models" / f"{name}.gguf"
        vocab = common.read_vocabulary(path)
        ids = tokenize(vocab, text)
        bos = vocab["bos"] if vocab["add_bos"] else None
        chunks, value, error = perplexity(hf.load(path), ids, N_CTX, bos)
        print(f"{name}: {len(ids)} ids, {len(chunks)} chunks, {value:.5f} +- {error:.5f}")
        cases.append(
            {
                "model": path.name,
                "text": "prose.txt",
                "n_ctx": N_CTX,
                "perplexity": float("%.8g" % value),
                "error": float("%.6g" % error),
                "chunks": common.digits(chunks, 8),
                "ids": ids,
            }
        )
    common.write_json(out, cases)


if __name__ == "__main__":
    main()
