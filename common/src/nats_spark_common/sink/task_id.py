"""The identity of a task, which all its attempts share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TaskId:
    """A task of a batch; all attempts of the task have the same one."""

    query: str
    batch: str
    partition: int

    def __str__(self) -> str:
        return f"partition {self.partition} of batch {self.batch}"

    @property
    def key(self) -> str:
        """The key of the task's record in the key-value bucket."""
        return f"{self.query}.{self.batch}.{self.partition}"

    @property
    def id_prefix(self) -> str:
        """The start of the message ids of the task's rows; the row's number follows."""
        return f"{self.query}/{self.batch}/{self.partition}/"
