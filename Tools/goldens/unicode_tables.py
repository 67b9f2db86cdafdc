"""Makes Sources/Tokenizers/Unicode{Classes,Categories,Canonical,Compatibility}Data.swift.

What the tokenizers package (0.23.3) does with every Unicode scalar, found by asking it: which scalars it takes for
white space, punctuation, control, marks, word characters, numbers; how it changes case; how it decomposes and composes.
The package mixes Unicode versions (8 to 17), so no single version of the standard's data gives the same answers.
Combining classes and one-step decompositions, which never change once assigned, come from Python's unicodedata.

    python Tools/goldens/unicode_tables.py        (about one minute; Python 3.11, tokenizers 0.23.3)

Numbers are in base 36. A set is a list of `gap` or `gap.more`: scalars skipped since the last range, length less one.
"""

import pathlib
import unicodedata

from tokenizers import Regex, normalizers, pre_tokenizers

SOURCES = pathlib.Path(__file__).resolve().parents[2] / "Sources" / "Tokenizers"
SCALARS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def base36(value):
    sign, value, text = "-" if value < 0 else "", abs(value), ""
    while True:
        value, digit = divmod(value, 36)
        text = DIGITS[digit] + text
        if value == 0:
            return sign + text


def between(step):
    """The scalars for which `step`, given the scalar between two letters, leaves only the letters."""
    return [c for c in SCALARS if step("a" + chr(c) + "b") == "ab"]


def splits(pre_tokenizer, pieces):
    """The scalars that split the two letters around them into this many pieces."""
    return [c for c in SCALARS if len(pre_tokenizer.pre_tokenize_str("a" + chr(c) + "b")) == pieces]


def bert(**on):
    settings = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**settings, **on}).normalize_str


def ranges(scalars):
    words, end, i = [], 0, 0
    while i < len(scalars):
        j = i
        while j + 1 < len(scalars) and scalars[j + 1] == scalars[j] + 1:
            j += 1
        words.append(base36(scalars[i] - end) + (f".{base36(j - i)}" if j > i else ""))
        end = scalars[j] + 1
        i = j + 1
    return words


def lowercase_runs():
    """`gap.count.step.change`: scalars at this step whose lower case is this far away; U+0130 is left to the code."""
    lower = normalizers.Lowercase().normalize_str
    change = {c: ord(lower(chr(c))) - c for c in SCALARS if c != 0x130 and lower(chr(c)) != chr(c)}
    assert lower("\u0130") == "i\u0307" and all(len(lower(chr(c))) == 1 for c in change)
    words, end, left = [], 0, sorted(change)
    while left:
        first = left[0]
        runs = []
        for step in (1, 2):
            run = [first]
            while change.get(run[-1] + step) == change[first]:
                run.append(run[-1] + step)
            runs.append((len(run), -step, run))
        _, step, run = max(runs)
        words.append(".".join(map(base36, (first - end, len(run), -step, change[first]))))
        end, taken = first + 1, set(run)
        left = [c for c in left if c not in taken]
    return words


def mapping(table):
    """`gap=scalar.scalar…`"""
    words, end = [], 0
    for c in sorted(table):
        words.append(base36(c - end) + "=" + ".".join(base36(ord(s)) for s in table[c]))
        end = c + 1
    return words


def write(name, what, tables):
    lines = [
        "// Made by Tools/goldens/unicode_tables.py from the behaviour of the tokenizers package 0.23.3; do not edit.",
        "",
        f"/// {what}",
        f"enum {name} {{",
    ]
    for index, (table, comment, words) in enumerate(tables):
        if index:
            lines.append("")
        lines += [f"    /// {comment}", f'    static let {table}: StaticString = """']
        row = ""
        for word in words:
            if len(row) + len(word) + 1 > 98:
                lines.append(f"        {row} \\")
                row = ""
            row += (" " if row else "") + word
        lines += [f"        {row}", '        """']
    lines.append("}")
    (SOURCES / f"{name}.swift").write_text("\n".join(lines) + "\n")


def classes():
    removed = between(bert(clean_text=True))
    white = splits(pre_tokenizers.WhitespaceSplit(), 2)
    assert white == splits(pre_tokenizers.BertPreTokenizer(), 2) == splits(pre_tokenizers.Whitespace(), 2)
    punctuation = splits(pre_tokenizers.Punctuation(), 3)
    assert punctuation == splits(pre_tokenizers.BertPreTokenizer(), 3)
    clean = bert(clean_text=True)
    assert [c for c in SCALARS if clean(f"a{chr(c)}b") == "a b"] == [c for c in white if c not in set(removed)]
    spaced = bert(handle_chinese_chars=True)
    nonspacing = between(bert(strip_accents=True))
    write("UnicodeClassesData", "What the reference takes each scalar for.", [
        ("whiteSpace", "White space.", ranges(white)),
        ("control", "Removed when BERT cleans text: control, format and private-use.", ranges(removed)),
        ("punctuation", "ASCII punctuation and symbols, and the categories P*.", ranges(punctuation)),
        ("nonspacingMark", "Category Mn.", ranges(nonspacing)),
        ("mark", "Categories M*.", ranges(between(normalizers.StripAccents().normalize_str))),
        ("ideograph", "Blocks around which BERT puts spaces.",
         ranges([c for c in SCALARS if spaced("a" + chr(c) + "b") != "a" + chr(c) + "b"])),
        ("word", "What a regular expression means by a word character.",
         ranges(splits(pre_tokenizers.Whitespace(), 1))),
        ("number", "Categories N*.", ranges(splits(pre_tokenizers.Digits(individual_digits=True), 3))),
        ("lowercase", "Runs of scalars with their lower case.", lowercase_runs()),
    ])


def categories():
    """What the regular expressions of the package take each scalar for."""
    everything = "".join(map(chr, SCALARS))

    def matched(pattern):
        left = set(normalizers.Replace(Regex(pattern), "").normalize_str(everything))
        return [c for c in SCALARS if chr(c) not in left]

    assert matched(r"\s") == splits(pre_tokenizers.WhitespaceSplit(), 2)
    names = dict(
        Lu="uppercaseLetter", Ll="lowercaseLetter", Lt="titlecaseLetter", Lm="modifierLetter", Lo="otherLetter",
        Mn="nonspacingMark", Mc="spacingMark", Me="enclosingMark", Nd="decimalNumber", Nl="letterNumber",
        No="otherNumber", Pc="connector", P="punctuation", S="symbol", Z="separator")
    word = [c for name in ("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Pc") for c in matched(rf"\p{{{name}}}")]
    print("word characters beside letters, marks, digits, connectors:", [
        hex(c) for c in sorted(set(matched(r"\w")) ^ set(word))][:20])
    write("UnicodeCategoriesData", "The general categories, as the regular expressions of the reference know them.", [
        (swift, f"Category {name}{'*' if len(name) == 1 else ''}.", ranges(matched(rf"\p{{{name}}}")))
        for name, swift in names.items()])


def forms():
    nfd, nfkd, nfc = (f().normalize_str for f in (normalizers.NFD, normalizers.NFKD, normalizers.NFC))
    plain = [c for c in SCALARS if not 0xAC00 <= c < 0xAC00 + 11172]
    canonical = {c: nfd(chr(c)) for c in plain if nfd(chr(c)) != chr(c)}
    compatible = {c: nfkd(chr(c)) for c in plain if nfkd(chr(c)) not in (chr(c), canonical.get(c))}
    # A mark with a class below that of U+0345 (240, the highest) moves before it.
    moves = [c for c in plain if c not in canonical and nfd("a\u0345" + chr(c)) == "a" + chr(c) + "\u0345"]
    kinds = {c: unicodedata.combining(chr(c)) for c in moves if c != 0x345} | {0x345: 240}
    assert all(kinds.values())
    marks, end = [], 0
    for c in sorted(kinds):
        if marks and c == end and marks[-1][2] == kinds[c]:
            marks[-1][1] += 1
        else:
            marks.append([c - end, 0, kinds[c]])
        end = c + 1
    pairs = {}
    for c in canonical:
        parts = [chr(int(part, 16)) for part in unicodedata.decomposition(chr(c)).split()]
        if len(parts) == 2 and nfc(chr(c)) == chr(c):
            assert nfc("".join(parts)) == chr(c)
            pairs[c] = parts
    write("UnicodeCanonicalData", "Canonical decomposition and composition, Hangul syllables left to the code.", [
        ("decompositions", "Full canonical decompositions.", mapping(canonical)),
        ("compositions", "The pairs that compose, by what they become.", mapping(pairs)),
        ("combiningClasses", "`gap.more.class`: ranges with a combining class other than 0.",
         [".".join(map(base36, mark)) for mark in marks]),
    ])
    write("UnicodeCompatibilityData", "Compatibility decomposition.", [
        ("decompositions", "Full compatibility decompositions where they differ from the canonical ones.",
         mapping(compatible)),
    ])


if __name__ == "__main__":
    classes()
    categories()
    forms()
