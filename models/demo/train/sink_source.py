# SPDX-License-Identifier: MIT
"""The text of the demo model `sink`: words, their exact next-word law, a generator, a tokenizer.

A text is BOS and then words of three kinds.  The law of the next word depends on the current one:

  plain    one of 8 successors (6 plain words, 1 trigger, 1 name) with probabilities WEIGHT / 256
  trigger  the word that stood before the trigger, for certain            (back-copy)
  name     at its first occurrence in the text one of the name's own 40 plain words, uniformly; at
           every later one the word that followed the first, for certain  (induction)
  BOS      any plain word, uniformly

A word before a trigger is always plain (triggers and names only follow plain words), so that a
copied word is plain.  After Bigram-Backcopy of Guo et al. 2024 (arXiv 2410.13835), names added.

Everything a reader of the GGUF needs to generate such text and to know its entropy is in the file's
metadata, qdb.source.*; see metadata() and Stream.
"""
import numpy as np

SYLLABLES = [c + v for c in "dfklmnprstv" for v in "aeiou"]
UNFIT = {"dike", "dude", "nasi", "nude", "pene", "puta", "puto", "rape", "rapa", "sado", "tata",
         "tita"}
TRIGGERS = ["again", "ditto", "encore", "twice"]
NAMES = ["Ada", "Ben", "Eve", "Ivo", "Lea", "Tom"]
PLAIN = 240
SUCCESSORS = 8
WEIGHT = np.array([76, 44, 28, 18, 12, 8, 28, 42])  # of 256; slot 6: the trigger, slot 7: the name
SEED_TABLE, SEED_TRAIN, SEED_TEST, SEED_GOLDEN = 1, 1, 2, 3

# What fixed the law of a word: index into KINDS and into the entropy table.
KINDS = ["plain", "copy", "recall", "start", "first"]
AFTER_PLAIN, AFTER_TRIGGER, AFTER_KNOWN_NAME, AFTER_BOS, AFTER_NEW_NAME = range(5)


def plain_words():
    rng = np.random.default_rng(SEED_TABLE)
    words = []
    while len(words) < PLAIN:
        a, b = rng.choice(len(SYLLABLES), 2)
        word = SYLLABLES[a] + SYLLABLES[b]
        if a != b and word not in UNFIT and word not in words:
            words.append(word)
    return sorted(words)


WORDS = plain_words() + TRIGGERS + NAMES            # a word's number in this module: its index here
FIRST_TRIGGER, FIRST_NAME = PLAIN, PLAIN + len(TRIGGERS)


def successor_table():
    """(PLAIN, SUCCESSORS) word numbers.  Each plain slot is a permutation of the plain words, so
    that all are equally frequent; no word succeeds itself or appears twice in a row."""
    rng = np.random.default_rng(SEED_TABLE)
    table = np.zeros((PLAIN, SUCCESSORS), dtype=np.int64)
    for slot in range(SUCCESSORS - 2):
        taken = [{i, *table[i, :slot]} for i in range(PLAIN)]
        p = rng.permutation(PLAIN)
        while clash := [i for i in range(PLAIN) if p[i] in taken[i]]:
            for i in clash:
                k = rng.integers(PLAIN)
                p[i], p[k] = p[k], p[i]
        table[:, slot] = p
    table[:, 6] = FIRST_TRIGGER + rng.permutation(PLAIN) % len(TRIGGERS)
    table[:, 7] = FIRST_NAME + rng.permutation(PLAIN) % len(NAMES)
    return table


TABLE = successor_table()
FIRSTS = np.arange(PLAIN).reshape(-1, len(NAMES)).T  # (name, 40): may follow its first occurrence


def entropy_table():
    """Entropy in nats of the next word's law, by kind."""
    p = WEIGHT / 256
    return np.array([-(p * np.log(p)).sum(), 0.0, 0.0, np.log(PLAIN), np.log(FIRSTS.shape[1])])


class Stream:
    """splitmix64, one generator per text: the state starts at seed * 2^32 + number of the text;
    each word takes one draw r (also where the law leaves no choice).  A successor is the first slot
    whose cumulative weight exceeds r >> 56; one of n words, uniformly, is number
    ((r >> 32) * n) >> 32."""

    def __init__(self, seed, first, count, weight=WEIGHT):
        self.limit = np.cumsum(weight)
        self.state = np.arange(first, first + count, dtype=np.uint64) + np.uint64(seed << 32)

    def draw(self):
        self.state = self.state + np.uint64(0x9E3779B97F4A7C15)
        z = self.state
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
        slot = np.searchsorted(self.limit, (z >> np.uint64(56)).astype(np.int64), side="right")
        high = z >> np.uint64(32)
        start, first = ((high * np.uint64(n)) >> np.uint64(32) for n in (PLAIN, FIRSTS.shape[1]))
        return slot, start.astype(np.int64), first.astype(np.int64)


def texts(seed, first, count, length, weight=WEIGHT):
    """Texts number first .. first + count - 1 of a seed: (word numbers, kinds), each (count,
    length).  weight: other weights than the law's, for training."""
    stream, row = Stream(seed, first, count, weight), np.arange(count)
    word = np.zeros((count, length), dtype=np.int64)
    kind = np.zeros((count, length), dtype=np.int64)
    memory = np.full((count, len(NAMES)), -1)
    word[:, 0], kind[:, 0] = stream.draw()[1], AFTER_BOS
    for i in range(1, length):
        slot, start, first = stream.draw()
        now, before = word[:, i - 1], word[:, max(i - 2, 0)]
        name = np.maximum(now - FIRST_NAME, 0)
        known = memory[row, name]
        k = np.where(now < FIRST_TRIGGER, AFTER_PLAIN,
                     np.where(now < FIRST_NAME, AFTER_TRIGGER,
                              np.where(known >= 0, AFTER_KNOWN_NAME, AFTER_NEW_NAME)))
        word[:, i] = np.choose(k, [TABLE[np.minimum(now, PLAIN - 1), slot], before, known, start,
                                   FIRSTS[name, first]])
        kind[:, i] = k
        new = k == AFTER_NEW_NAME
        memory[row[new], name[new]] = word[new, i]
    return word, kind


# Tokenizer: byte-level BPE.  Token ids: 0..255 the bytes, 256 BOS, then one per merge.

BOS, BOS_TEXT = 256, "<|bos|>"


def byte_characters():
    """The printable stand-in of each byte in GPT-2's vocabulary files."""
    plain = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or 174 <= b <= 255]
    other = [b for b in range(256) if b not in plain]
    return {**{b: chr(b) for b in plain}, **{b: chr(256 + i) for i, b in enumerate(other)}}


def merge_all(pieces, rank):
    """Byte-level BPE of one pre-token: merge the pair of best rank until none is left."""
    while True:
        pairs = [(rank[p], i) for i, p in enumerate(zip(pieces, pieces[1:])) if p in rank]
        if not pairs:
            return pieces
        i = min(pairs)[1]
        pieces = pieces[:i] + [pieces[i] + pieces[i + 1]] + pieces[i + 2:]


def vocabulary():
    """(tokens, merges, token id of each word).  A plain word is merged from its first syllable with
    the space before it, a token, and its second, a token; triggers and names are chains of
    prefixes.  Only whole words occur in a text: the other tokens are never seen in training."""
    space = byte_characters()[32]
    firsts = sorted({w[:2] for w in WORDS[:PLAIN]})
    seconds = sorted({w[2:] for w in WORDS[:PLAIN]})
    merges = [(space, c) for c in sorted({s[0] for s in firsts})]
    merges += [(space + s[0], s[1]) for s in firsts] + [(s[0], s[1]) for s in seconds]
    merges += [(space + w[:2], w[2:]) for w in WORDS[:PLAIN]]
    for word in WORDS[PLAIN:]:
        pieces = merge_all(list(space + word), {m: i for i, m in enumerate(merges)})
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces = [pieces[0] + pieces[1]] + pieces[2:]
    rank = {m: i for i, m in enumerate(merges)}
    assert len(rank) == len(merges)
    tokens = [byte_characters()[b] for b in range(256)] + [BOS_TEXT] + [a + b for a, b in merges]
    assert len(set(tokens)) == len(tokens)
    for word in WORDS:
        assert merge_all(list(space + word), rank) == [space + word], word
    return tokens, merges, np.array([tokens.index(space + word) for word in WORDS])


TOKENS, MERGES, WORD_TOKEN = vocabulary()


def tokens_of(word):
    """Word numbers (text, n) -> token ids (text, n + 1), BOS first."""
    return np.concatenate([np.full((len(word), 1), BOS), WORD_TOKEN[word]], axis=1)


def text_of(word):
    """Word numbers (n,) -> text; every word has a space before it, the first too."""
    return "".join(" " + WORDS[w] for w in word)


def example():
    """The beginning of a text, up to a name whose next word is certain."""
    word, kind = texts(SEED_GOLDEN, 0, 1, 64)
    return text_of(word[0, :np.argmax(kind[0] == AFTER_KNOWN_NAME)])


def metadata():
    """qdb.source.*: the law, complete.  Words are given as token ids."""
    return {
        "qdb.source.kind": "bigram-backcopy-recall",
        "qdb.source.law":
            "The next word, by the current one. plain[i]: successor[8*i+j] with probability "
            "weight[j]/256. trigger: the word before the trigger. name[i]: at its first occurrence "
            "in the text one of first[n*i..n*i+n-1], uniformly, n = length of first / number of "
            "names; at a later one the word that followed the first occurrence. Start of text: any "
            "plain word, uniformly.",
        "qdb.source.generator":
            "splitmix64 from state seed*2^32+number of the text, one draw r per word; successor: "
            "the first slot whose cumulative weight exceeds r>>56; one of n words, uniformly: "
            "number ((r>>32)*n)>>32.",
        "qdb.source.plain": WORD_TOKEN[:FIRST_TRIGGER].tolist(),
        "qdb.source.trigger": WORD_TOKEN[FIRST_TRIGGER:FIRST_NAME].tolist(),
        "qdb.source.name": WORD_TOKEN[FIRST_NAME:].tolist(),
        "qdb.source.successor": WORD_TOKEN[TABLE].reshape(-1).tolist(),
        "qdb.source.first": WORD_TOKEN[FIRSTS].reshape(-1).tolist(),
        "qdb.source.weight": WEIGHT.tolist(),
        "qdb.source.seed.train": SEED_TRAIN,
        "qdb.source.seed.test": SEED_TEST,
        "qdb.source.example": example(),
    }
