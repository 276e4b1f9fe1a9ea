"""Files of rows: csv, json, jsonl, npy, npz, parquet.

`open_rows` streams a file as request bodies, `write_rows` streams answers into one, `example` reads a file as example
rows for packing. No pickle is ever read: numpy files are opened with `allow_pickle=False`.
"""

from setsail.rows.columns import example
from setsail.rows.reading import Batches, open_rows
from setsail.rows.writing import stream_csv, write_rows

__all__ = ["Batches", "example", "open_rows", "stream_csv", "write_rows"]
