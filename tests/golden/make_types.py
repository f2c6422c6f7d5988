# SPDX-License-Identifier: MIT
"""Makes types.txt: which names of tensor types two programs take in recipes.

usage: make_types.py LLAMA_QUANTIZE LLAMA_QUANTIZE_OF_IK > types.txt
The first is of llama.cpp, the second of ik_llama.cpp. Every format of kernels/format.c is tried, in
the spellings below. types.txt has a line for each program: its name and the types that it takes.
"""

import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
MODEL = HERE / "models" / "llama-gqa-tied.gguf"


def spellings(name):
    return {name} | {name.replace(a, a.upper()) for a in ("_k", "_kv", "_kr")} | {name + "_g128"}


def takes(program, option, name):
    command = [program, "--dry-run", option, "x=" + name, MODEL, "unused", "Q8_0"]
    return not subprocess.run(command, capture_output=True).returncode


def main():
    table = (HERE / "../../kernels/format.c").read_text()
    names = re.findall(r"^    (?:PLAIN|QUANT|DIALECT)\(\d+, \"?(\w+)", table, re.M)
    print("llama-quantize", *(n for n in names if takes(sys.argv[1], "--tensor-type", n)))
    print("ik", *(s for n in names for s in sorted(spellings(n)) if takes(sys.argv[2], "--custom-q", s)))


main()
