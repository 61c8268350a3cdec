"""Tables as Arrow, Parquet and pandas; imported where the extra `frames` is there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ... import __version__
from ..errors import MissingExtraError
from ..records import HARNESS_SCHEMA
from .columns import SCHEMA_VERSION, TURN_COLUMNS, Column, Row
from .source import Source, all_columns

try:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq
except ModuleNotFoundError as error:
    raise MissingExtraError("pandas with pyarrow", "frames") from error

_TYPES = {
    "text": pa.string(),
    "bool": pa.bool_(),
    "int": pa.int64(),
    "float": pa.float64(),
    "time": pa.timestamp("us", tz="UTC"),
}
_NULLABLE = {
    pa.string(): pd.StringDtype(),
    pa.bool_(): pd.BooleanDtype(),
    pa.int64(): pd.Int64Dtype(),
}
_ROWS, _BYTES = 10_000, 32_000_000  # of a row group, whichever is reached first


def schema_of(columns: Sequence[Column], metadata: dict[str, str] | None = None) -> Any:
    """The Arrow schema; what pandas notes in it makes `read_parquet` give the same types."""
    empty = pd.DataFrame({c.name: pd.Series([], dtype=_dtype(c)) for c in columns})
    noted = pa.Schema.from_pandas(empty, preserve_index=False).metadata
    fields = [pa.field(c.name, _TYPES[c.kind], nullable=c.missing) for c in columns]
    return pa.schema(fields, {**noted, **(metadata or {})})


def _dtype(column: Column) -> Any:
    """The type in pandas: one that can be missing where a value can, and a float as NaN."""
    if column.kind == "bool":
        return pd.BooleanDtype() if column.missing else "bool"
    if column.kind == "int":
        return pd.Int64Dtype() if column.missing else "int64"
    kinds = {"text": pd.StringDtype(), "float": "float64", "time": "datetime64[us, UTC]"}
    return kinds[column.kind]


def metadata_of(sources: Sequence[Source], table: str) -> dict[str, str]:
    """What a file says of itself: versions, runs, and the protocol of each cell."""
    protocols = {
        "/".join((frame.run, *frame.base.cell)): frame.protocol.id
        for source in sources
        for frame in source.frames
    }
    return {
        "agemem_eval.table": table,
        "agemem_eval.table_version": str(SCHEMA_VERSION),
        "agemem_eval.harness_schema": str(HARNESS_SCHEMA),
        "agemem_eval.version": __version__,
        "agemem_eval.runs": json.dumps([source.name for source in sources]),
        "agemem_eval.protocols": json.dumps(protocols, ensure_ascii=False),
    }


def batches(rows: Iterable[Row], columns: Sequence[Column], schema: Any) -> Iterator[Any]:
    """The rows as record batches, so that no more than one of them is in memory."""
    values: list[list[Any]] = [[] for _ in columns]
    size = 0
    for row in rows:
        for column, into in zip(columns, values, strict=True):
            value = column.of(row)
            into.append(value)
            size += len(value) if isinstance(value, str) else 8
        if len(values[0]) >= _ROWS or size >= _BYTES:
            yield _batch(values, schema)
            values, size = [[] for _ in columns], 0
    if values[0]:
        yield _batch(values, schema)


def _batch(values: list[list[Any]], schema: Any) -> Any:
    arrays = [pa.array(v, field.type) for v, field in zip(values, schema, strict=True)]
    return pa.record_batch(arrays, schema=schema)


def write_parquet(
    path: Path, rows: Iterable[Row], columns: Sequence[Column], metadata: dict[str, str]
) -> int:
    """Write a table, a row group at a time.

    Returns:
        How many rows there were.

    Raises:
        OSError: if the disk refuses.
    """
    schema, n = schema_of(columns, metadata), 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batches(rows, columns, schema):
            writer.write_batch(batch)
            n += batch.num_rows
    return n


def write_tables(folder: Path, sources: Sequence[Source]) -> tuple[int, int]:
    """Write `episodes.parquet` and `turns.parquet` of runs.

    Returns:
        How many episodes and turns there were.

    Raises:
        OSError: if the disk refuses.
    """
    tables = {
        "episodes": (all_columns(sources), Source.episode_rows),
        "turns": (TURN_COLUMNS, Source.turn_rows),
    }
    counts = [
        write_parquet(
            folder / f"{name}.parquet",
            (row for source in sources for row in rows(source)),
            columns,
            metadata_of(sources, name),
        )
        for name, (columns, rows) in tables.items()
    ]
    return counts[0], counts[1]


def data_frame(rows: Iterable[Row], columns: Sequence[Column]) -> Any:
    """The rows as a pandas data frame."""
    schema = schema_of(columns)
    table = pa.Table.from_batches(batches(rows, columns, schema), schema)
    frame = table.to_pandas(ignore_metadata=True, types_mapper=_NULLABLE.get)
    return frame.astype({c.name: _dtype(c) for c in columns})
