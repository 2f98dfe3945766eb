"""Spark: a local session, which has Python workers beside its JVM."""

from __future__ import annotations

import ast
import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from pyspark.serializers import CloudPickleSerializer
from pyspark.sql import SparkSession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Spark:
    """A session with two cores, where a task may fail twice before its job does."""

    def __init__(self) -> None:
        self._undo = contextlib.ExitStack()
        folder = self._undo.enter_context(tempfile.TemporaryDirectory(prefix="spark-"))
        self._folder = Path(folder)
        (self._folder / "events").mkdir()
        builder: Any = SparkSession.builder
        self.session = (
            builder.master("local[2,3]")
            .appName("engines")
            .config("spark.ui.enabled", "false")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.eventLog.enabled", "true")
            .config("spark.eventLog.compress", "false")
            .config("spark.eventLog.dir", (self._folder / "events").as_uri())
            .config("spark.local.dir", str(self._folder))
            .config("spark.sql.warehouse.dir", str(self._folder / "warehouse"))
            .config("spark.sql.execution.arrow.maxRecordsPerBatch", "4")
            .getOrCreate()
        )
        self._undo.callback(self.session.stop)
        self._sent: list[bytes] = []

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """What the function makes of each item, by `mapInPandas`."""

        def rows(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
            for frame in frames:
                made = [repr(function(item)) for item in frame["item"]]
                yield pd.DataFrame({"number": frame["number"], "made": made})

        self._sent.append(CloudPickleSerializer().dumps(rows))
        frame = pd.DataFrame({"number": range(len(items)), "item": [str(item) for item in items]})
        given = self.session.createDataFrame(frame).repartition(2)
        done = given.mapInPandas(rows, "number long, made string").collect()
        return [ast.literal_eval(row.made) for row in sorted(done, key=lambda row: row.number)]

    def wire(self) -> bytes:
        """The function as Spark pickles it, the log of events, and what lies in its folders."""
        files = [path for path in self._folder.rglob("*") if path.is_file()]
        assert any("events" in path.parts for path in files)
        return b"".join([*self._sent, *(path.read_bytes() for path in files)])

    def close(self) -> None:
        """Ends the session."""
        self._undo.close()
