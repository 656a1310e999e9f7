"""An entry of Spark's offset log: the end of a batch, for each source of the query. Pure.

Source: Spark's ``OffsetSeqLog``. The first line is the version, the second the batch's metadata as
JSON, or empty. Each further line is the end of one source: its JSON in version 1, ``<source
id>:<JSON>`` in version 2; ``-`` stands for none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import CheckpointError
from ..protocol.json_object import json_object

_VOID = "-"
_VERSIONS = ("v1", "v2")


@dataclass(frozen=True)
class LogEntry:
    """The logged end of a batch.

    Attributes:
        version: ``v1`` or ``v2``.
        metadata: JSON with the watermark, time and configuration of the batch, or empty.
        offsets: the JSON of each source's end by its id, None if it has none; in version 1 the ids
            are ``0``, ``1`` and so on.
    """

    version: str
    metadata: str
    offsets: Mapping[str, str | None]

    @staticmethod
    def parse(text: str, name: str) -> LogEntry:
        """Parse the text of an entry. Raises ``CheckpointError`` with ``name``, the file's name."""
        version, *lines = text.split("\n")
        if version.strip() not in _VERSIONS:
            raise CheckpointError(
                f"{name} has version {version.strip()[:40]!r}, and {' and '.join(_VERSIONS)} are "
                "known: use a nats-spark that knows this version of Spark"
            )
        if len(lines) < 2:
            raise CheckpointError(f"{name} ends early: it is damaged, or being written")
        metadata, *ends = lines
        offsets: dict[str, str | None] = {}
        for number, line in enumerate(ends):
            source, end = str(number), line
            if version.strip() == "v2":
                source, _, end = line.partition(":")
            offsets[source] = None if end == _VOID else end
        return LogEntry(version.strip(), metadata.strip(), offsets)

    def format(self) -> str:
        """Return the text of the entry, as Spark writes it."""
        lines = [self.version, self.metadata]
        for source, end in self.offsets.items():
            text = _VOID if end is None else end
            lines.append(f"{source}:{text}" if self.version == "v2" else text)
        return "\n".join(lines)

    def with_offset(self, source: str, end: Mapping[str, Any]) -> LogEntry:
        """Return the entry with another end of a source."""
        # As Spark's worker writes it: Spark compares ends as text.
        return replace(self, offsets={**self.offsets, source: json.dumps(end)})

    def at_watermark(self, milliseconds: int) -> LogEntry:
        """Return the entry with another watermark, in milliseconds since the epoch."""
        if not self.metadata:
            return self
        metadata = json_object(self.metadata)
        if metadata is None:
            raise CheckpointError("the metadata of the last batch is not JSON")
        metadata["batchWatermarkMs"] = milliseconds
        return replace(self, metadata=json.dumps(metadata, separators=(",", ":")))
