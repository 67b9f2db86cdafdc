"""Parquet files for tests, with the values that pyarrow reads from them.

Makes in Tests/Fixtures/Tasks/parquet/:
  flat_*.parquet, nested_*.parquet  the same two tables in all page versions, encodings and codecs that are read
  old_*.parquet                     lists in the forms of old writers
  empty, fallback, required, runs   further kinds
  refused_*.parquet                 what is refused by its name
  bomb_*.parquet                    a few kilobytes that stand for gigabytes
  geo170k(qa)/                      a subset in the layout of LLaVA-OneVision-Data, in two shards
  onevision_faults.parquet          the same layout with rows that cannot be used
  expected.json                     {"tables": {name: rows}, "files": {file: name of its table}}; bytes and texts are written
                                    with one character a byte

Needs Python 3.10 or newer and pyarrow 26.0.1. Command:

  python3 Tools/goldens/parquet.py
"""

import json
import os
import struct

import pyarrow as pa
import pyarrow.parquet as pq

HERE = os.path.dirname(os.path.abspath(__file__))
OUTPUT = os.path.join(HERE, "..", "..", "Tests", "Fixtures", "Tasks", "parquet")
ROWS = 53

expected = {"tables": {}, "files": {}}


def plain(value):
    """A value as JSON: one character a byte."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, tuple):  # An entry of a map.
        return {"key": plain(value[0]), "value": plain(value[1])}
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, str):
        value = value.encode()
    return value.decode("latin-1") if isinstance(value, bytes) else value


def write(name, table, values=None, **options):
    path = os.path.join(OUTPUT, name + ".parquet")
    pq.write_table(table, path, **{"store_schema": False, "write_statistics": False, **options})
    if values:
        rows = plain(pq.read_table(path).to_pylist())
        assert expected["tables"].setdefault(values, rows) == rows, name
        expected["files"][name] = values


def flat():
    def column(kind, make, every):
        return pa.array([None if i % every == every - 1 else make(i) for i in range(ROWS)], kind)

    return pa.table({
        "truth": column(pa.bool_(), lambda i: i * i % 5 < 2, 7),
        "small": column(pa.int32(), lambda i: (i - 20) ** 5 % 4294967296 - 2147483648, 5),
        "large": column(pa.int64(), lambda i: (-3) ** (i % 40), 6),
        "counter": column(pa.uint32(), lambda i: 4294967295 - i * i, 9),
        "single": column(pa.float32(), lambda i: i / 8 - 3, 4),
        "double": column(pa.float64(), lambda i: 1 / (i + 1), 3),
        "text": column(pa.string(), lambda i: "word %d é" % (i // 3), 8),
        "bytes": column(pa.binary(), lambda i: bytes([255, i, 0]) * (i % 4), 5),
        "fixed": column(pa.binary(5), lambda i: b"key%02d" % i, 10),
        "never": pa.array([None] * ROWS, pa.int32()),
        "always": pa.array([7] * ROWS, pa.int64()),
    })


def nested():
    turn = pa.struct([("from", pa.string()), ("value", pa.string())])
    turns = [
        [{"from": "human", "value": "a?"}, {"from": "gpt", "value": None}], None, [], [None, {"from": None, "value": "x"}],
        [{"from": "human", "value": "é"}], [],
    ]
    deep = [[["a", None], [], None], [], None, [["b"], ["c", "d", "e"]], [None], [[]]]
    pair = pa.struct([("list", pa.list_(pa.int32())), ("inner", pa.struct([("number", pa.int64())]))])
    pairs = [
        {"list": [1, None], "inner": {"number": 5}}, {"list": None, "inner": None}, None, {"list": [], "inner": {"number": None}},
        {"list": [2, 3, 4], "inner": {"number": -1}}, None,
    ]
    lists = [[{"list": [1], "inner": None}, None, {"list": [2, 3], "inner": {"number": 6}}], None, []]
    entries = [[("a", 1), ("b", None)], [], None]
    times = 3
    return pa.table({
        "turns": pa.array(turns * times, pa.list_(turn)),
        "deep": pa.array(deep * times, pa.list_(pa.list_(pa.string()))),
        "pair": pa.array(pairs * times, pair),
        "pairs": pa.array(lists * 2 * times, pa.list_(pair)),
        "number": pa.array(range(6 * times), pa.int32()),
        "image": pa.array([{"bytes": b"\xff\xd8", "path": None}, None, {"bytes": None, "path": "p"}] * 2 * times,
                          pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        "big": pa.array([[1.5, 2.5], None, [None]] * 2 * times, pa.large_list(pa.float64())),
        "map": pa.array(entries * 2 * times, pa.map_(pa.string(), pa.int32())),
    })


def tables():
    small = {"data_page_size": 40, "write_batch_size": 6, "row_group_size": 31}
    one = {"row_group_size": 1000}
    deltas = {
        "use_dictionary": False,
        "column_encoding": {
            "truth": "RLE", "small": "DELTA_BINARY_PACKED", "large": "DELTA_BINARY_PACKED", "counter": "DELTA_BINARY_PACKED",
            "text": "DELTA_BYTE_ARRAY", "bytes": "DELTA_LENGTH_BYTE_ARRAY", "fixed": "DELTA_BYTE_ARRAY",
            "never": "DELTA_BINARY_PACKED", "always": "DELTA_BINARY_PACKED",
        },
    }
    for version in "1.0", "2.0":
        for codec in "none", "snappy", "zstd":
            end = f"_v{version[0]}_{codec}"
            options = {"data_page_version": version, "compression": codec}
            write("flat_plain" + end, flat(), "flat", use_dictionary=False, **options, **small)
            write("flat_words" + end, flat(), "flat", use_dictionary=True, **options, **small)
            write("flat_delta" + end, flat(), "flat", **options, **deltas, **(one if codec == "snappy" else small))
            write("nested" + end, nested(), "nested", **options, **({**small, "row_group_size": 7}))
    write("nested_one_page", nested(), "nested", compression="none", use_compliant_nested_type=False)
    write("nested_checksums", nested(), "nested", compression="zstd", write_page_checksum=True, write_statistics=True,
          write_page_index=True, store_schema=True)
    write("empty", flat().slice(0, 0), "empty")
    write("fallback", pa.table({"text": ["text %d" % (i % 40) for i in range(90)]}), "fallback", compression="none",
          dictionary_pagesize_limit=200, write_batch_size=10, data_page_size=50)
    whole = pa.schema([pa.field("a", pa.int32(), False), pa.field("b", pa.list_(pa.field("element", pa.string(), False)), False)])
    write("required", pa.table({"a": [1, 2, 3], "b": [["x"], [], ["y", "z"]]}, schema=whole), "required")
    long = [1] * 300 + [None] * 200 + [2, 3] * 50 + [[None, 4][i % 3 == 0] for i in range(100)]
    write("runs", pa.table({"n": pa.array(long, pa.int16()), "t": pa.array([x == 1 for x in long])}), "runs", data_page_version="2.0",
          compression="none")
    blocks = [(i * 7919) % 1000 * (1 << (i % 50)) for i in range(700)]
    write("blocks", pa.table({"n": pa.array(blocks, pa.int64())}), "blocks", use_dictionary=False, compression="zstd",
          column_encoding={"n": "DELTA_BINARY_PACKED"})


# --- The compact protocol of Thrift, as far as a footer needs it: a structure is a list of [field, type, value].

def number(data, place):
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, place


def parse(data, place, kind):
    if kind in (3, 4, 5, 6):
        return number(data, place)
    if kind == 8:
        size, place = number(data, place)
        return data[place:place + size], place + size
    if kind == 9:
        head, place = data[place], place + 1
        count = head >> 4
        if count == 15:
            count, place = number(data, place)
        values = []
        for _ in range(count):
            value, place = parse(data, place, head & 15)
            values.append(value)
        return (head & 15, values), place
    fields, field = [], 0
    while data[place]:
        head, place = data[place], place + 1
        if head >> 4:
            field += head >> 4
        else:
            raw, place = number(data, place)
            field = raw >> 1
        value = None
        if head & 15 > 2:
            value, place = parse(data, place, head & 15)
        fields.append([field, head & 15, value])
    return fields, place + 1


def varint(value):
    result = b""
    while value > 127:
        result += bytes([value & 127 | 128])
        value >>= 7
    return result + bytes([value])


def serialised(value, kind):
    if kind in (3, 4, 5, 6):
        return varint(value)
    if kind == 8:
        return varint(len(value)) + value
    if kind == 9:
        inner, values = value
        return bytes([15 << 4 | inner]) + varint(len(values)) + b"".join(serialised(part, inner) for part in values)
    result, last = b"", 0
    for field, inner, part in value:
        result += bytes([(field - last) << 4 | inner]) + (serialised(part, inner) if inner > 2 else b"")
        last = field
    return result + b"\0"


def rewrite(name, change):
    """Writes the file with `change` done to the elements of its schema."""
    path = os.path.join(OUTPUT, name + ".parquet")
    data = open(path, "rb").read()
    size = struct.unpack("<I", data[-8:-4])[0]
    footer, _ = parse(data[-8 - size:-8], 0, 12)
    for field in footer:
        if field[0] == 2:
            field[2] = (12, change(field[2][1]))
    raw = serialised(footer, 12)
    open(path, "wb").write(data[:-8 - size] + raw + struct.pack("<I", len(raw)) + b"PAR1")
    # pyarrow knows the old forms too.
    assert plain(pq.read_table(path).to_pylist()) == expected["tables"][expected["files"][name]], name


def put(element, field, kind, value):
    element[:] = sorted([part for part in element if part[0] != field] + [[field, kind, value]], key=lambda part: part[0])


def drop(element, *fields):
    element[:] = [part for part in element if part[0] not in fields]


def old_lists():
    """Pages of today's lists without null elements have the levels of the old forms: only the schema differs."""
    def table(element, values):
        return pa.table({"x": pa.array(values, pa.list_(pa.field("element", element, False)))})

    numbers = table(pa.int32(), [[1, 2], None, [], [3]])
    pairs = [[{"a": 1, "b": "u"}, {"a": 2, "b": "v"}], None, []]
    fields = [pa.field("a", pa.int32(), False), pa.field("b", pa.string())]

    def repeated_value(elements):
        put(elements[3], 3, 5, 4)  # zigzag of 2: repeated
        put(elements[3], 4, 8, b"array")
        return elements[:2] + elements[3:]

    def repeated_group(group_name):
        def change(elements):
            put(elements[2], 4, 8, group_name)
            put(elements[2], 5, 5, 2 * [value for field, _, value in elements[3] if field == 5][0] // 2)
            return elements[:3] + elements[4:]
        return change

    write("old_value", numbers, "old_value")
    rewrite("old_value", repeated_value)
    write("old_pairs", table(pa.struct(fields), pairs), "old_pairs")
    rewrite("old_pairs", repeated_group(b"bag"))
    single = table(pa.struct(fields[:1]), [[{"a": 1}, {"a": 2}], None, []])
    write("old_array", single, "old_single")
    rewrite("old_array", repeated_group(b"array"))
    write("old_tuple", single, "old_single")
    rewrite("old_tuple", repeated_group(b"x_tuple"))

    def bare(elements):
        put(elements[3], 3, 5, 4)
        put(elements[3], 4, 8, b"x")
        return [elements[0], elements[3]]

    schema = pa.schema([pa.field("x", pa.list_(pa.field("element", pa.int32(), False)), False)])
    write("old_bare", pa.table({"x": [[1, 2], [], [3]]}, schema=schema), "old_bare")
    rewrite("old_bare", bare)


def refusals():
    number_table = pa.table({"x": pa.array([1.5, 2.5, 3.5], pa.float32())})
    for codec in "gzip", "brotli", "lz4":
        write("refused_" + codec, number_table, compression=codec)
    write("refused_split", number_table, use_dictionary=False, column_encoding={"x": "BYTE_STREAM_SPLIT"})
    write("refused_int96", pa.table({"x": pa.array([1], pa.timestamp("ns"))}), use_deprecated_int96_timestamps=True)
    write("bomb_page", pa.table({"x": [b"\0" * (40 << 20)]}), compression="zstd", compression_level=19, use_dictionary=False)
    words = pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), pa.array(["a" * (1 << 20)]))
    write("bomb_words", pa.table({"x": words}), compression="zstd", dictionary_pagesize_limit=4 << 20)


def published():
    folder = os.path.join(OUTPUT, "geo170k(qa)")
    os.makedirs(folder, exist_ok=True)
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    turns = pa.list_(pa.struct([("from", pa.string()), ("value", pa.string())]))
    schema = pa.schema([("id", pa.string()), ("image", image), ("conversations", turns), ("data_source", pa.string())],
                       metadata={"huggingface": '{"info": {}}'})

    def row(id, picture, question, answer):
        return {
            "id": id, "image": picture and {"bytes": picture, "path": f"{id}.png"}, "data_source": "geo170k(qa)",
            "conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}],
        }

    first = [
        row("g1", b"\x89PNG one", "<image>\nHow long is AB?", "AB is 3 + 2.\nThe answer is 5."),
        row("g2", b"\x89PNG one", "<image>\nWhich angle is right?", "Answer: B"),
        row("g3", None, "What is 2 + 2?", "4"),
    ]
    second = [row("g4", b"\xff\xd8 two", "<image>\nWhat is x?", "Answer:30"), row("g1", b"\xff\xd8 two", "<image>\nAnd y?", "Answer:60")]
    for index, rows in enumerate((first, second)):
        path = os.path.join(folder, f"train-0000{index}-of-00002.parquet")
        pq.write_table(pa.Table.from_pylist(rows, schema), path, row_group_size=2)
    faults = [
        row(None, None, "a?", "a"), row("b", None, "b?", "b"), row("c", None, "c?", "c"), row("d", None, "d?", "d"),
        row("e", None, "<image>", "e"), row("f", b"\xff\xd8", "f?", "f"),
    ]
    faults[1]["conversations"] = None
    faults[2]["conversations"].reverse()
    faults[3]["conversations"].pop()
    faults[5]["image"]["bytes"] = None
    write("onevision_faults", pa.Table.from_pylist(faults, schema))


def main():
    os.makedirs(OUTPUT, exist_ok=True)
    tables()
    old_lists()
    refusals()
    published()
    with open(os.path.join(OUTPUT, "expected.json"), "w") as file:
        json.dump(expected, file, separators=(",", ":"), ensure_ascii=True)
        file.write("\n")


if __name__ == "__main__":
    main()
