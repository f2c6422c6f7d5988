# SPDX-License-Identifier: MIT
"""Golden figures of the demo model `sink`: sink_text.txt and sink_logits.json.

    python make_sink.py        (after models/demo/train/sink.py has written models/demo/sink.gguf)

The text is text 0 of seed 3 of the model's source, 64 words. Hugging Face transformers computes the
logits in float64 from the weights in the file; the law's figures come from the source's own tables.
"""

import pathlib
import sys

import numpy as np

from common import digits, write_json
import hf

HERE = pathlib.Path(__file__).resolve().parent
DEMO = HERE.parent.parent / "models" / "demo"
sys.path.insert(1, str(DEMO / "train"))
import sink_source as source  # noqa: E402

WORDS = 64
SHOWN = 8  # logits given per position: the best ones


def main():
    word, kind = source.texts(source.SEED_GOLDEN, 0, 1, WORDS)
    text = source.text_of(word[0])
    ids = source.tokens_of(word)[0].tolist()
    logits = hf.logits(hf.load(DEMO / "sink.gguf"), ids)
    top = np.argsort(-logits, axis=-1, kind="stable")
    log_p = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    nll = -log_p[np.arange(WORDS), ids[1:]]
    entropy = source.entropy_table()[kind[0]]
    (HERE / "sink_text.txt").write_text(text, encoding="ascii")
    write_json(HERE / "sink_logits.json", {
        "model": "models/demo/sink.gguf",
        "text": "sink_text.txt",
        "seed": source.SEED_GOLDEN,
        "ids": ids,
        "mean_nll": digits(nll.mean(), 7),
        "mean_entropy": digits(entropy.mean(), 7),
        "nll": digits(nll, 6),
        "entropy": digits(entropy, 6),
        "top1": top[:, 0].tolist(),
        "log_sum_exp": digits(np.logaddexp.reduce(logits, axis=-1), 6),
        "logits": [
            {"tok": t, "ids": best.tolist(), "logits": digits(logits[t, best], 6)}
            for t, best in enumerate(top[:, :SHOWN])
        ],
    })


if __name__ == "__main__":
    main()
