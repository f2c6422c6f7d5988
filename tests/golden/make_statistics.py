# SPDX-License-Identifier: MIT
"""Two models whose logits are exact in any engine, and what llama-perplexity says of the pair.

    python make_statistics.py LLAMA_PERPLEXITY      # writes models/exact-*.gguf and statistics.txt

A token's embedding is +-1 in every place and eps is 0, so that the norm changes nothing; the blocks
add zero; the output matrix holds multiples of 1/16: every product and sum of the logits is exact in
float32, in whichever order. What differs between engines is then the statistics alone. The text is
drawn from the first model, letter by letter.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

import gguf
import numpy as np

import common

WIDTH, BLOCKS, HEADS, FF, CONTEXT, CHUNKS = 32, 1, 2, 32, 64, 24
LETTERS = [3 + ord(c) for c in "abcdefghijklmnopqrstuvwxyz"]
VOCABULARY = {
    "model": "llama",
    "tokens": ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % b for b in range(256)],
    "scores": [0.0] * 259,
    "types": [common.UNKNOWN, common.CONTROL, common.CONTROL] + [common.BYTE] * 256,
    "unk": 0, "bos": 1, "eos": 2, "add_bos": True, "add_space_prefix": False,
}


def matrices():
    """Embeddings and the two output matrices; the first place, always 1, keeps letters likely."""
    rng = np.random.default_rng(41)
    n = len(VOCABULARY["tokens"])
    embedding = rng.choice([-1.0, 1.0], (n, WIDTH)).astype(np.float32)
    embedding[:, 0] = 1
    output = rng.integers(-12, 13, (n, WIDTH)).astype(np.float32) / 16
    output[:, 0] = -6
    output[LETTERS, 0] = 0
    other = output + rng.integers(-2, 3, output.shape).astype(np.float32) / 16
    return embedding, output, other


def write_model(path, embedding, output):
    w = gguf.GGUFWriter(path, "llama")
    w.add_block_count(BLOCKS)
    w.add_context_length(256)
    w.add_embedding_length(WIDTH)
    w.add_feed_forward_length(FF)
    w.add_head_count(HEADS)
    w.add_head_count_kv(HEADS)
    w.add_rope_dimension_count(WIDTH // HEADS)
    w.add_layer_norm_rms_eps(0.0)
    w.add_file_type(1)
    w.add_vocab_size(len(VOCABULARY["tokens"]))
    common.add_vocabulary(w, VOCABULARY)
    zero = np.zeros((WIDTH, WIDTH), np.float16)
    one = np.ones(WIDTH, np.float32)
    w.add_tensor("token_embd.weight", embedding.astype(np.float16))
    for name in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]:
        w.add_tensor("blk.0.%s.weight" % name, zero)
    for name in ["blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"]:
        w.add_tensor(name, one)
    w.add_tensor("output.weight", output.astype(np.float16))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def draw_text(embedding, output):
    rng = np.random.default_rng(42)
    token, text = 1, []
    for _ in range(CHUNKS * CONTEXT + 8):
        p = np.exp((output @ embedding[token]).astype(np.float64)[LETTERS])
        token = LETTERS[rng.choice(len(LETTERS), p=p / p.sum())]
        text.append(chr(token - 3))
    return "".join(text)


def run(program, *arguments):
    r = subprocess.run([program, *arguments], capture_output=True, text=True, check=True)
    return r.stdout + r.stderr


def main():
    program, folder = sys.argv[1], pathlib.Path(__file__).resolve().parent
    embedding, output, other = matrices()
    paths = [folder / "models" / ("exact-%s.gguf" % which) for which in ("base", "other")]
    write_model(paths[0], embedding, output)
    write_model(paths[1], embedding, other)
    text = draw_text(embedding, output)
    with tempfile.TemporaryDirectory() as tmp:
        (pathlib.Path(tmp) / "text").write_text(text)
        common_arguments = ["-f", tmp + "/text", "-c", str(CONTEXT), "-b", str(CONTEXT),
                            "--kl-divergence-base", tmp + "/base"]
        run(program, "-m", str(paths[0]), *common_arguments)
        said = run(program, "-m", str(paths[1]), *common_arguments, "--kl-divergence")
        base = subprocess.run("cksum <base", shell=True, cwd=tmp, capture_output=True, text=True)
    kind = re.compile(r"^ ?(Mean|Cor|RMS|Same|Med|Max|Min|[\d.]+%).*:")
    lines = [line.strip() for line in said.splitlines() if kind.match(line)]
    assert len(lines) == 34, said
    (folder / "statistics.txt").write_text("\n".join([text, base.stdout.strip()] + lines) + "\n",
                                           encoding="utf-8")


main()
