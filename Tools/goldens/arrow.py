"""Arrow tables for tests, in the layout of the tables that DVP and ViLT train from.

Makes in Tests/Fixtures/Tasks/arrow/:
  vqav2_train.arrow     an IPC file of two record batches, with an extra column and a missing value
  vqav2_test.arrow      lists of answers that are empty, of no type
  snli_ve_dev.arrow     texts as ids, one answer a question
  stream.arrow          the first table as a stream
  lz4.arrow, zstd.arrow the first table, compressed

Needs Python 3.10 or newer and pyarrow 26.0.1. Command:

  python3 Tools/goldens/arrow.py
"""

import os

import pyarrow as pa

HERE = os.path.dirname(os.path.abspath(__file__))
OUTPUT = os.path.join(HERE, "..", "..", "Tests", "Fixtures", "Tasks", "arrow")


def write(name, table, stream=False, **options):
    options = pa.ipc.IpcWriteOptions(**options)
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with pa.OSFile(os.path.join(OUTPUT, name), "wb") as file, make(file, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=2)


def main():
    os.makedirs(OUTPUT, exist_ok=True)
    train = pa.table({
        "image": [b"\xff\xd8 one", b"\x89PNG two", b"\xff\xd8 one"],
        "questions": [["what is it?", "is it red?"], ["où est-il?"], ["why?", "who?", "when?"]],
        "answers": [[["net", "mesh"], ["yes"]], [["là"]], [["a"], ["b", "c"], ["d"]]],
        "answer_labels": [[[7, 8], [1]], [[9]], [[2], [3, 4], [5]]],
        "answer_scores": [[[1.0, 0.3], [0.9]], [[0.6]], [[0.3], [0.6, 0.9], [1.0]]],
        "image_id": [42, -7, 42],
        "question_id": [[420, 421], [70], [422, 423, 424]],
        "split": ["train", "train", None],
        "__index_level_0__": pa.array([0, 1, 2], pa.uint16()),
    })
    write("vqav2_train.arrow", train)
    write("stream.arrow", train, stream=True)
    write("lz4.arrow", train, compression="lz4")
    write("zstd.arrow", train, compression="zstd")
    empty = pa.array([[], []], pa.list_(pa.null()))
    write("vqav2_test.arrow", pa.table({
        "image": pa.array([b"RIFF three", b"four"], pa.large_binary()),
        "questions": [["what?"], ["where?", "how?"]],
        "answers": empty, "answer_labels": empty, "answer_scores": empty,
        "image_id": pa.array([1, 2], pa.int32()),
        "question_id": [[10], [20, 21]],
        "split": ["test", "test"],
    }))
    write("snli_ve_dev.arrow", pa.table({
        "image": [b"\xff\xd8 five"],
        "questions": pa.array([["A dog runs.", "A cat sleeps."]], pa.list_(pa.large_string())),
        "answers": [["entailment", "contradiction"]],
        "identifier": ["4705552913.jpg"],
        "split": ["dev"],
    }))


if __name__ == "__main__":
    main()
