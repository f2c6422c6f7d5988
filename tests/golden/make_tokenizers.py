# SPDX-License-Identifier: MIT
"""Train small vocabularies, and write each as a GGUF file with the ids of hard strings.

Training and ids come from the packages `tokenizers` and `sentencepiece`. Each case is computed a
second time by a literal transcription of the algorithm (below, with the package `regex` for the
pre-tokenizer); a string on which the two differ is printed and left out.

    python make_tokenizers.py [FOLDER]      # default: tokenizers/ beside this script
"""

import heapq
import io
import json
import pathlib
import struct
import sys

import regex
import sentencepiece
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

import common
from common import BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED

# The patterns as the models' own tokenizer definitions give them.
CONTRACTIONS = "'s|'t|'re|'ve|'m|'ll|'d"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERN = {
    "gpt-2": CONTRACTIONS + r"| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "llama-bpe": f"(?i:{CONTRACTIONS})" + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + TAIL,
    "qwen2": f"(?i:{CONTRACTIONS})" + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + TAIL,
}


def byte_alphabet():
    """GPT-2's table: byte -> printable character that stands for it in a vocabulary."""
    keep = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table, extra = {}, 0
    for b in range(256):
        if b in keep:
            table[b] = chr(b)
        else:
            table[b] = chr(256 + extra)
            extra += 1
    return table


ALPHABET = byte_alphabet()


def split_words(pre):
    """The pre-tokenizer: text -> words over the byte alphabet."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(PATTERN[pre]), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


# ---- byte-level BPE -----------------------------------------------------------------------------


def train_bpe(texts, pre, size, control, user_defined=(), whole_words=(), add_bos=False):
    """A vocabulary of `size` trained tokens, then whole words that no merge reaches, then the
    user-defined and the control tokens. bos = first, eos = last control token."""
    trained = tokenizers.Tokenizer(models.BPE())
    trained.pre_tokenizer = split_words(pre)
    trained.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=2,
            show_progress=False,
            initial_alphabet=sorted(ALPHABET.values()),
        ),
    )
    state = json.loads(trained.to_str())["model"]
    tokens = [t for t, _ in sorted(state["vocab"].items(), key=lambda kv: kv[1])]
    merges = [" ".join(m) if isinstance(m, list) else m for m in state["merges"]]
    types = [NORMAL] * len(tokens)
    for group, kind in ((whole_words, NORMAL), (user_defined, USER_DEFINED), (control, CONTROL)):
        tokens += group
        types += [kind] * len(group)
    return {
        "model": "gpt2",
        "pre": pre,
        "tokens": tokens,
        "types": types,
        "merges": merges,
        "bos": tokens.index(control[0]),
        "eos": tokens.index(control[-1]),
        "add_bos": add_bos,
        "ignore_merges": pre == "llama-bpe",
    }


def of_kinds(vocab, *kinds):
    """token -> id of the tokens of these kinds"""
    pairs = zip(vocab["tokens"], vocab["types"])
    return {t: i for i, (t, k) in enumerate(pairs) if k in kinds}


class HfBpe:
    """Byte-level BPE by the package `tokenizers`."""

    def __init__(self, vocab):
        merges = [tuple(m.split(" ")) for m in vocab["merges"]]
        base = lambda words: models.BPE(words, merges, ignore_merges=vocab["ignore_merges"])
        words = of_kinds(vocab, NORMAL, USER_DEFINED)
        control = of_kinds(vocab, CONTROL)
        self.plain = tokenizers.Tokenizer(base(words))
        self.special = tokenizers.Tokenizer(base(words | control))
        for t in (self.plain, self.special):
            t.pre_tokenizer = split_words(vocab["pre"])
            user = of_kinds(vocab, USER_DEFINED)
            t.add_tokens([tokenizers.AddedToken(u, normalized=False) for u in user])
        self.special.add_special_tokens(list(control))

    def encode(self, text, special=False):
        t = self.special if special else self.plain
        return t.encode(text, add_special_tokens=False).ids


def split_tokens(text, vocab, special):
    """Cut user-defined tokens (control tokens, too, when `special`) out of a text: a list of ids
    and strings. Longer tokens first, each from left to right."""
    kinds = (USER_DEFINED, CONTROL, UNKNOWN) if special else (USER_DEFINED,)
    parts = [text] if text else []
    for t, i in sorted(of_kinds(vocab, *kinds).items(), key=lambda p: -len(p[0].encode())):
        cut = []
        for part in parts:
            if isinstance(part, int):
                cut.append(part)
                continue
            for n, piece in enumerate(part.split(t)):
                cut += ([i] if n else []) + ([piece] if piece else [])
        parts = cut
    return parts


class PlainBpe:
    """Byte-level BPE by the letter: apply the lowest-ranked merge, leftmost first, until none."""

    def __init__(self, vocab):
        self.vocab = vocab
        self.rank = {tuple(m.split(" ")): r for r, m in enumerate(vocab["merges"])}
        self.id = of_kinds(vocab, NORMAL)
        self.pattern = regex.compile(PATTERN[vocab["pre"]])

    def word(self, word):
        if self.vocab["ignore_merges"] and word in self.id:
            return [self.id[word]]
        symbols = list(word)
        while len(symbols) > 1:
            ranks = [self.rank.get(p, 1 << 30) for p in zip(symbols, symbols[1:])]
            at = min(range(len(ranks)), key=lambda i: (ranks[i], i))
            if ranks[at] == 1 << 30:
                break
            symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
        return [self.id[s] for s in symbols]

    def encode(self, text, special=False):
        out = []
        for part in split_tokens(text, self.vocab, special):
            if isinstance(part, int):
                out.append(part)
                continue
            for w in self.pattern.findall(part):
                out += self.word("".join(ALPHABET[b] for b in w.encode()))
        return out


# ---- SentencePiece ------------------------------------------------------------------------------


def train_spm(texts, size, prefix=True, user_defined=(), coverage=0.99):
    """SentencePiece BPE with byte fallback and no normalisation: (vocabulary, processor)."""
    out = io.BytesIO()
    lines = [line for t in texts for line in t.split("\n") if line]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=out,
        model_type="bpe",
        vocab_size=size,
        byte_fallback=True,
        character_coverage=coverage,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=prefix,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        user_defined_symbols=list(user_defined),
        num_threads=1,
        minloglevel=2,
    )
    sp = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    n = sp.get_piece_size()
    kind = lambda i: (
        UNKNOWN if sp.is_unknown(i) else CONTROL if sp.is_control(i) else BYTE if sp.is_byte(i)
        else USER_DEFINED if sp.id_to_piece(i) in user_defined else NORMAL
    )
    vocab = {
        "model": "llama",
        "tokens": [sp.id_to_piece(i) for i in range(n)],
        "scores": [sp.get_score(i) for i in range(n)],
        "types": [kind(i) for i in range(n)],
        "bos": sp.bos_id(),
        "eos": sp.eos_id(),
        "unk": sp.unk_id(),
        "add_bos": True,
        "add_space_prefix": prefix,
    }
    return vocab, sp


def spm_proto(vocab):
    """The bytes of a SentencePiece ModelProto with these pieces, for files without one."""

    def varint(n):
        out = b""
        while n >= 128:
            out += bytes([n & 127 | 128])
            n >>= 7
        return out + bytes([n])

    def message(number, body):
        return varint(number << 3 | 2) + varint(len(body)) + body

    def field(number, value):
        return varint(number << 3) + varint(value)

    proto = b""
    for token, score, kind in zip(vocab["tokens"], vocab["scores"], vocab["types"]):
        piece = message(1, token.encode()) + b"\x15" + struct.pack("<f", score)
        proto += message(1, piece + field(3, kind))
    # trainer: model_type = BPE, vocab_size, byte_fallback; normalizer: name, add_dummy_prefix,
    # remove_extra_whitespaces, escape_whitespaces
    trainer = field(3, 2) + field(4, len(vocab["tokens"])) + field(35, 1)
    prefix = field(3, int(vocab["add_space_prefix"]))
    normalizer = message(1, b"identity") + prefix + field(4, 0) + field(5, 1)
    return proto + message(2, trainer) + message(3, normalizer)


class Spm:
    """SentencePiece by the package of that name; control tokens are never parsed."""

    def __init__(self, processor):
        self.sp = processor

    def encode(self, text, special=False):
        return None if special else self.sp.encode(text)


class PlainSpm:
    """SentencePiece BPE by the letter: spaces become U+2581, one is put before the text and after
    every special token; then the adjacent pair whose concatenation has the best score is merged,
    leftmost first, until none is a token; what is left over falls back to bytes."""

    def __init__(self, vocab):
        self.vocab = vocab
        self.id = of_kinds(vocab, NORMAL, USER_DEFINED)
        self.byte = {int(t[3:5], 16): i for t, i in of_kinds(vocab, BYTE).items()}

    def part(self, text):
        symbols = list(text)
        right = list(range(1, len(symbols))) + [-1]
        left = list(range(-1, len(symbols) - 1))
        queue = []

        def propose(a, b):
            if a >= 0 and b >= 0:
                both = symbols[a] + symbols[b]
                if both in self.id:
                    heapq.heappush(queue, (-self.vocab["scores"][self.id[both]], a, b, both))

        for i in range(len(symbols) - 1):
            propose(i, i + 1)
        while queue:
            _, a, b, both = heapq.heappop(queue)
            if symbols[a] is None or symbols[b] is None or right[a] != b:
                continue
            if symbols[a] + symbols[b] != both:
                continue
            symbols[a], symbols[b], right[a] = both, None, right[b]
            if right[b] >= 0:
                left[right[b]] = a
            propose(left[a], a)
            propose(a, right[a])
        out = []
        for s in symbols:
            if s is not None:
                out += [self.id[s]] if s in self.id else [self.byte[b] for b in s.encode()]
        return out

    def encode(self, text, special=False):
        out, prefix = [], self.vocab["add_space_prefix"]
        for part in split_tokens(text, self.vocab, special):
            if isinstance(part, int):
                out.append(part)
                prefix = self.vocab["add_space_prefix"]
            else:
                out += self.part(((" " if prefix else "") + part).replace(" ", "\u2581"))
                prefix = False
        return out


# ---- cases --------------------------------------------------------------------------------------


def special_strings(vocab):
    """Texts that spell special tokens, to be read both ways."""
    names = list(of_kinds(vocab, CONTROL, USER_DEFINED))
    a, b = names[0], names[-1]
    return [a, f"{a}{b}", f"Hello {a} world{b}", f"{b}\n\n{b} {a[:-1]}", f" {b}x{a[1:]}{a}{a}"]


def make_cases(name, vocab, first, second, strings):
    """Cases on which both implementations agree; `first` may decline one by returning None."""
    wanted = [(s, False) for s in strings + special_strings(vocab)]
    wanted += [(s, True) for s in special_strings(vocab)]
    cases = []
    for text, special in wanted:
        ids, again = first.encode(text, special), second.encode(text, special)
        if ids is not None and ids != again:
            print(f"{name}: differ on {text[:40]!r} special={special}: {ids[:9]} {again[:9]}")
            continue
        case = {"text": text, "ids": list(again)}
        cases.append(case | {"special": True} if special else case)
    return cases


def all_vocabularies():
    """name -> (vocabulary, first implementation, second implementation)"""
    texts = [(common.TEXT / f).read_text(encoding="utf-8") for f in ("training.txt", "prose.txt")]
    out = {}
    end = "<|endoftext|>"
    v = train_bpe(texts, "gpt-2", 700, [end])
    out["bpe-gpt2"] = (v, HfBpe(v), PlainBpe(v))
    v = train_bpe(
        texts, "llama-bpe", 700,
        ["<|begin_of_text|>", "<|eot_id|>", "<|end_of_text|>"],
        whole_words=["\u0120unmergeable", "zyzzyva", "777", "\u0120\u0120\u0120\u0120\u0120"],
        add_bos=True,
    )
    out["bpe-llama3"] = (v, HfBpe(v), PlainBpe(v))
    v = train_bpe(
        texts, "qwen2", 700, [end, "<|im_start|>", "<|im_end|>"], user_defined=["<tool_call>"]
    )
    v["bos"] = v["tokens"].index(end)
    out["bpe-qwen2"] = (v, HfBpe(v), PlainBpe(v))
    v, sp = train_spm(texts, 800)
    out["spm"] = (v, Spm(sp), PlainSpm(v))
    v, sp = train_spm(texts[1:], 480, prefix=False, user_defined=["<sep>", "@@"])
    out["spm-noprefix"] = (v, Spm(sp), PlainSpm(v))
    return out


EXTRA_STRINGS = {
    "bpe-llama3": ["unmergeable unmergeable", " zyzzyva zyzzyva", "777 7777 77777", "      x"],
    "bpe-qwen2": ["<tool_call>{}<tool_call> x", "call <tool_call"],
    "spm-noprefix": ["a<sep>b <sep> <sep><sep>", "a@@@b @ @@ y<sep"],
}


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else common.HERE / "tokenizers"
    folder.mkdir(parents=True, exist_ok=True)
    for name, (vocab, first, second) in all_vocabularies().items():
        common.write_vocabulary(
            folder / f"{name}.gguf", vocab, "gpt2" if vocab["model"] == "gpt2" else "llama"
        )
        strings = common.HARD_STRINGS + EXTRA_STRINGS.get(name, [])
        cases = make_cases(name, vocab, first, second, strings)
        common.write_json(folder / f"{name}.json", {"vocabulary": f"{name}.gguf", "cases": cases})
        print(f"{name}: {len(vocab['tokens'])} tokens, {len(cases)} cases")


if __name__ == "__main__":
    main()
