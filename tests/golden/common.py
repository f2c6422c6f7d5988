# SPDX-License-Identifier: MIT
"""What the golden-data scripts share: folders, compact JSON, GGUF vocabularies, hard strings."""

import json
import pathlib

import gguf
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
TEXT = HERE / "text"

# Token types of the GGUF key tokenizer.ggml.token_type.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


SPECIAL_KEYS = {
    "bos": "tokenizer.ggml.bos_token_id",
    "eos": "tokenizer.ggml.eos_token_id",
    "unk": "tokenizer.ggml.unknown_token_id",
}


def digits(values, count=9):
    """Nested lists of floats with `count` significant digits (9 give every float32 back)."""
    a = np.asarray(values, dtype=np.float64)
    if a.ndim == 0:
        return float(f"%.{count}g" % a)
    return [digits(v, count) for v in a]


def write_json(path, obj):
    """ASCII JSON, one line per entry of an object and of a list of objects in it."""

    def dump(o, level):
        breaks = isinstance(o, dict) or isinstance(o, list) and o and isinstance(o[0], dict)
        if level == 0 or not breaks:
            return json.dumps(o, separators=(",", ":"), ensure_ascii=True)
        if isinstance(o, dict):
            body = [json.dumps(k) + ":" + dump(v, level - 1) for k, v in o.items()]
            return "{\n" + ",\n".join(body) + "\n}"
        return "[\n" + ",\n".join(dump(v, level - 1) for v in o) + "\n]"

    pathlib.Path(path).write_text(dump(obj, 2) + "\n", encoding="ascii")


def add_vocabulary(writer, vocab):
    """Write `vocab` (see make_tokenizers.py) as the tokenizer.ggml keys of a GGUF file."""
    writer.add_tokenizer_model(vocab["model"])
    if vocab["model"] == "gpt2":
        writer.add_tokenizer_pre(vocab["pre"])
    writer.add_token_list(vocab["tokens"])
    if "scores" in vocab:
        writer.add_token_scores(vocab["scores"])
    writer.add_token_types(vocab["types"])
    if "merges" in vocab:
        writer.add_token_merges(vocab["merges"])
    for name, key in SPECIAL_KEYS.items():
        if name in vocab:
            writer.add_uint32(key, vocab[name])
    writer.add_add_bos_token(vocab["add_bos"])
    if "add_space_prefix" in vocab:
        writer.add_add_space_prefix(vocab["add_space_prefix"])


def read_vocabulary(path):
    """The tokenizer.ggml keys of a GGUF file as the dictionary that add_vocabulary takes."""
    fields = gguf.GGUFReader(str(path)).fields
    get = lambda key: fields[key].contents() if key in fields else None
    names = {"model": "model", "pre": "pre", "tokens": "tokens", "types": "token_type",
             "scores": "scores", "merges": "merges", "add_bos": "add_bos_token",
             "add_space_prefix": "add_space_prefix"}
    vocab = {n: get(f"tokenizer.ggml.{key}") for n, key in names.items()}
    vocab |= {n: get(key) for n, key in SPECIAL_KEYS.items()}
    vocab = {n: v for n, v in vocab.items() if v is not None}
    return vocab | {"ignore_merges": vocab.get("pre") == "llama-bpe"}


def write_vocabulary(path, vocab, architecture):
    """A GGUF file that holds a vocabulary and nothing else."""
    w = gguf.GGUFWriter(str(path), architecture)
    w.add_type("vocab")
    add_vocabulary(w, vocab)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


# Strings that tokenizers get wrong. Valid UTF-8 only (the implementations compared take text), and
# no character younger than Unicode 14, so that the age of a character table does not matter.
HARD_STRINGS = [
    "",
    " ",
    "  ",
    "   ",
    " " * 37,
    "a",
    " a",
    "  a",
    "a ",
    "a  ",
    "a  b   c    d",
    "\t",
    "\ta\t\tb\t",
    " \t \t",
    "\n",
    "\n\n",
    "\n\n\n \n",
    "\r\n",
    "line one\r\nline two\r\n\r\nline four\r",
    "trailing newline\n",
    "  \n  indented\n\tand a tab\n",
    "a\n b\n  c\n   d",
    " \n",
    "\n ",
    "Hello, world!",
    "Hello   world  !",
    "The debugger stops where the numbers agree.",
    "don't DON'T Don'T we're WE'RE we'Re I'll I'LL he'd HE'D I'm I'M they've THEY'VE it's IT'S",
    "'s 't 're 've 'm 'll 'd '' ' 'x 'S'T'RE",
    "rock'n'roll 'tis o'clock ''twas'' l\u2019\u00e9t\u00e9 don\u2019t",
    "1 12 123 1234 12345 123456 1234567 12345678 1234567890",
    "3.14159265358979 -273.15 1e-9 0x7fffffff 1,000,000 2024-11-22T03:04:05Z",
    "a1b22c333d4444 4th 21st v10.2.33",
    "\u0661\u0662\u0663\u0664 \u096a\u096b\u096c \u2460\u2461 \u00bd\u00bc \u2167 "
    "\u4e00\u4e8c\u4e09 x\u00b2\u00b3",
    "for (int i = 0; i < n; i++) { x[i] += y[i] * 2; } // done",
    "def f(x):\n    if x:\n        return x\n\n    return None\n",
    "<html><body class=\"a\">&amp;</body></html>",
    "!?!?!?...,,,;;;:::---___===+++***///\\\\\\|||",
    "$%^&*()_+{}|:\"<>?~`-=[]\\;',./@#",
    "\u00fcber gr\u00f6\u00dfer \u00c9l\u00e8ve na\u00efve fa\u00e7ade \u00d8re "
    "\u0141\u00f3d\u017a \u0130stanbul \u0131",
    "e\u0301 a\u0308o\u0308u\u0308 n\u0303 \u1e9b\u0323 Z\u0351\u0343\u0352a\u035b\u0310l\u0307go",
    "\u0301 \u0301a \u0327",
    "\u041e\u0448\u0438\u0431\u043a\u0430 \u0431\u044b\u043b\u0430 \u0432 "
    "\u0442\u0440\u0435\u0442\u044c\u0435\u0439 \u0441\u0442\u0440\u043e\u043a\u0435.",
    "\u03a4\u03bf \u03bb\u03ac\u03b8\u03bf\u03c2 \u0389\u03a4\u0391\u039d "
    "\u03bc\u03b9\u03ba\u03c1\u03cc",
    "\u7a0b\u5e8f\u505c\u5728\u7b2c\u4e09\u884c,\u6211\u4eec\u6162\u6162\u5730\u770b\u3002",
    "\u30a8\u30e9\u30fc\u306f\uff13\u884c\u76ee\uff01 \uff76\uff9e \uac01 "
    "\u1100\u1161\u11a8 \u3042\u3099",
    "\U00020000\U0002a6d6 \U00010348 \U0001d400\U0001d7d8",
    "\u05d4\u05e9\u05d2\u05d9\u05d0\u05d4 \u05d4\u05b7\u05e9\u05bc\u05c1\u05b0 "
    "\u0627\u0644\u062e\u0637\u0623\u064c \u0641\u064a",
    "\u200fRTL\u200e \u202eoverride\u202c \u2067isolate\u2069",
    "\u0917\u0932\u0924\u0940 \u0915\u094d\u0937 \u0e02\u0e49\u0e2d\u0e1c\u0e34\u0e14 \u0ba8\u0bbf",
    "\U0001f642\U0001f50d \U0001f468\u200d\U0001f469\u200d\U0001f467 "
    "\U0001f44d\U0001f3fd \U0001f1e9\U0001f1ea \u2764\ufe0f 1\ufe0f\u20e3",
    "\u2192 \u2713\u2717 \u2026 \u201cquoted\u201d \u2014 \u2013 \u20ac12 \u00a37 "
    "20\u00a0\u00b0C \u03b1\u2264\u03b2",
    "\u00a0 \u00a0\u00a0a \u2003b\u2009c \u3000\u3000d \u2028e\u2029f\u0085g",
    "\u200b zero\u200bwidth \u2060 \ufeffbom \u00adsoft",
    "\x00",
    "a\x00b\x00\x00 \x00",
    "\x01\x02\x1b[31mred\x1b[0m\x07\x08\x7f",
    "\x0b\x0c a\x0b\x0cb",
    "\x1c\x1d\x1e\x1f a\u180eb \u180e c",
    "'\u017f x'\u017f it'\u017fx '\u212a",
    "\ue000\uf8ff \U000f0000\U0010fffd private",
    "\ufffd \ufffe\uffff",
    "a" * 300,
    "ab" * 100,
    "0" * 100,
    "\n" * 60,
    " a" * 50,
    "=" * 80,
    "\u4e00" * 40,
    "error error error error errorerror Error ERROR",
    "the the theThe THE then there thethe",
    "snake_case_name camelCaseName SCREAMING_CASE kebab-case-name a.b.c",
    "C:\\path\\file.txt /usr/lib/x86_64 https://example.org/?q=1&r=%20#top me@example.org",
    "\"\"\"doc\"\"\" ''' `code` **bold** _it_ # title\n- item\n1. one\n",
]
