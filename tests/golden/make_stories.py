# SPDX-License-Identifier: MIT
"""Figures of a real small model, stories260K-f32.gguf, which this repository does not carry.

What transformers computes for a prompt goes to stories260K.json, ids of hard strings (by
SentencePiece itself, fed with the file's pieces) to tokenizers/stories260K.json. Tests that use
them are skipped where the model is absent.

    python make_stories.py MODEL.gguf
"""

import sys

import numpy as np
import sentencepiece

import common
import hf
import make_tokenizers
import plain

PROMPT, LENGTH = "Once upon a time", 64


def main():
    path = sys.argv[1]
    vocab = common.read_vocabulary(path)
    sp = sentencepiece.SentencePieceProcessor(model_proto=make_tokenizers.spm_proto(vocab))
    cases = make_tokenizers.make_cases(
        "stories260K", vocab, make_tokenizers.Spm(sp), make_tokenizers.PlainSpm(vocab),
        common.HARD_STRINGS,
    )
    common.write_json(
        common.HERE / "tokenizers" / "stories260K.json",
        {"vocabulary": "stories260K-f32.gguf", "cases": cases},
    )

    model = hf.load(path)
    prompt = [vocab["bos"]] + sp.encode(PROMPT)
    points = hf.trace(model, prompt)
    second = plain.Plain(hf.File(path)).trace(prompt)
    distance = max(np.abs(points[k] - second[k]).max() for k in second)
    assert distance < 1e-4, distance
    ids = list(prompt)
    for _ in range(LENGTH):
        ids.append(int(hf.logits(model, ids)[-1].argmax()))
    names = ["embd.out", *(f"blk.{n}.out" for n in range(5)), "output_norm.out"]
    out = {
        "model": "stories260K-f32.gguf",
        "distance": float("%.2g" % distance),
        "prompt": PROMPT,
        "ids": prompt,
        "greedy": ids[len(prompt) :],
        "text": sp.decode(ids[len(prompt) :]),
        "norms": {n: common.digits(np.linalg.norm(points[n], axis=-1), 7) for n in names},
        "last_logits": common.digits(points["output.out"][-1], 7),
    }
    common.write_json(common.HERE / "stories260K.json", out)
    print(f"distance {out['distance']}, {len(cases)} tokenizer cases, text: {out['text']!r}")


if __name__ == "__main__":
    main()
