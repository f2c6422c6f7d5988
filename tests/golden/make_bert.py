# SPDX-License-Identifier: MIT
"""A tiny BERT encoder with random weights, and what transformers computes at its points.

    python make_bert.py [FOLDER]      # default: models/ beside this script
"""

import pathlib
import sys

import gguf
import numpy as np
import torch
import transformers

import common

WIDTH, BLOCKS, HEADS, FF, VOCABULARY, CONTEXT, EPS = 32, 2, 4, 48, 64, 32, 1e-6
IDS = [17, 3, 60, 0, 63, 3, 22, 41, 41, 8, 50, 1]

# GGUF name -> name in transformers, outside the blocks and within one.
OUTSIDE = {
    "token_embd": "embeddings.word_embeddings",
    "token_types": "embeddings.token_type_embeddings",
    "position_embd": "embeddings.position_embeddings",
    "token_embd_norm": "embeddings.LayerNorm",
}
INSIDE = {
    "attn_q": "attention.self.query",
    "attn_k": "attention.self.key",
    "attn_v": "attention.self.value",
    "attn_output": "attention.output.dense",
    "attn_output_norm": "attention.output.LayerNorm",
    "ffn_up": "intermediate.dense",
    "ffn_down": "output.dense",
    "layer_output_norm": "output.LayerNorm",
}


def model():
    config = transformers.BertConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=BLOCKS,
        num_attention_heads=HEADS, intermediate_size=FF, max_position_embeddings=CONTEXT,
        layer_norm_eps=EPS, hidden_act="gelu", attn_implementation="eager",
    )
    m = transformers.BertModel(config, add_pooling_layer=False).double().eval()
    rng = np.random.default_rng(19)
    for name, p in m.named_parameters():
        a = rng.standard_normal(tuple(p.shape))
        if p.ndim == 2:
            a *= 1.5 / np.sqrt(p.shape[1]) if "embeddings" not in name else 1.0
        elif name.endswith("LayerNorm.weight"):
            a = 1 + 0.4 * a
        else:
            a *= 0.3
        p.data = torch.from_numpy(a.astype(np.float32).astype(np.float64))
    return m


def names():
    for here, there in OUTSIDE.items():
        yield here, there
    for n in range(BLOCKS):
        for here, there in INSIDE.items():
            yield f"blk.{n}.{here}", f"encoder.layer.{n}.{there}"


def write(path, m):
    w = gguf.GGUFWriter(str(path), "bert")
    w.add_name("bert, random weights for tests")
    w.add_vocab_size(VOCABULARY)
    w.add_context_length(CONTEXT)
    w.add_embedding_length(WIDTH)
    w.add_block_count(BLOCKS)
    w.add_feed_forward_length(FF)
    w.add_head_count(HEADS)
    w.add_layer_norm_eps(EPS)
    w.add_causal_attention(False)
    w.add_file_type(0)
    w.add_tokenizer_model("no_vocab")
    state = m.state_dict()
    for here, there in names():
        for part in ("weight", "bias"):
            if f"{there}.{part}" in state:
                w.add_tensor(f"{here}.{part}", state[f"{there}.{part}"].numpy().astype(np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def trace(m):
    """point -> array (token, channel), or (token, head, key) for probabilities"""
    out = {}

    def keep(point, module, of_input=False):
        def hook(_, inputs, result):
            x = inputs[0] if of_input else result
            out[point] = (x[0] if isinstance(x, tuple) else x)[0].detach().numpy()

        module.register_forward_hook(hook)

    keep("embd.out", m.embeddings)
    for n, layer in enumerate(m.encoder.layer):
        keep(f"blk.{n}.attn_output.in", layer.attention.output.dense, True)
        keep(f"blk.{n}.attn_output.out", layer.attention.output.dense)
        keep(f"blk.{n}.mid", layer.attention.output)
        keep(f"blk.{n}.ffn_down.in", layer.output.dense, True)
        keep(f"blk.{n}.ffn_down.out", layer.output.dense)
        keep(f"blk.{n}.out", layer)
    with torch.no_grad():
        result = m(torch.tensor([IDS]), output_attentions=True)
    for n, a in enumerate(result.attentions):
        out[f"blk.{n}.attn.prob"] = np.swapaxes(a[0].numpy(), 0, 1)
    return out


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else common.HERE / "models"
    m = model()
    write(folder / "bert.gguf", m)
    points = []
    for name, a in sorted(trace(m).items()):
        tokens = [0, 5, len(IDS) - 1]
        points.append({"name": name, "tok": tokens, "data": common.digits(a[tokens], 7)})
    common.write_json(folder / "bert.json", {"model": "bert.gguf", "ids": IDS, "points": points})


if __name__ == "__main__":
    main()
