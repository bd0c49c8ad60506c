"""Makes tests/golden/parquet: small files as pyarrow writes them, with every way a text or a list can be laid out.

pip install pyarrow; python make_parquet.py
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

OUT = Path(__file__).parent / "parquet"
OUT.mkdir(exist_ok=True)

COUNT = 40
COLOURS = ["red", "green", "blue"]
texts = pa.table(
    {
        "text": pa.array([None if k == 7 else f"text {k} is {COLOURS[k % 3]} — ä" for k in range(COUNT)]),
        "label": pa.array([COLOURS[k % 3] for k in range(COUNT)]),
        "labels": pa.array([None if k == 5 else COLOURS[: k % 4] for k in range(COUNT)]),
        "stars": pa.array([k / 8 for k in range(COUNT)], pa.float64()),
        "count": pa.array(range(COUNT), pa.int64()),
        "group": pa.array(["north" if k < 20 else None for k in range(COUNT)]),
    }
)
sentences = pa.table(
    {
        "tokens": pa.array([["Ada", "went"], ["to"], [], ["London", "today"], [None, "x"]]),
        "tags": pa.array([["B-PER", "O"], ["O"], [], ["B-LOC", "O"], ["O", "O"]]),
        "ner_tags": pa.array([[1, 0], [0], [], [3, 0], [0, 0]], pa.list_(pa.int32())),
    }
)
nested = pa.table({"text": pa.array([{"a": "x", "b": "y"}]), "label": pa.array([[["deep"]]])})

pq.write_table(texts, OUT / "texts.parquet", row_group_size=16, write_page_checksum=True)
pq.write_table(
    texts,
    OUT / "texts_plain.parquet",
    compression="none",
    use_dictionary=False,
    data_page_version="2.0",
    write_statistics=False,
)
pq.write_table(texts, OUT / "texts_zstd.parquet", compression="zstd")
pq.write_table(sentences, OUT / "sentences.parquet")
pq.write_table(nested, OUT / "nested.parquet")
