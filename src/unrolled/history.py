"""metrics.jsonl: figures of steps and epochs come in; rows that survive a crash go out."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unrolled import files
from unrolled.errors import ModelError


class Log:
    """metrics.jsonl: rows of figures, kept in memory and appended to a file if there is one."""

    def __init__(self, path: Path | None = None):
        self.path = path
        self.rows: list[dict[str, Any]] = []

    def cut(self, size: int) -> None:
        """Keep the rows in the file's first `size` bytes: what a killed run wrote later goes."""
        if self.path is None or not self.path.exists():
            return
        kept = files.read(self.path, limit=2**31)[:size]
        self.rows = [
            files.parse_json(line, str(self.path)) for line in kept.splitlines() if line.strip()
        ]
        files.write(self.path, kept)

    def add(self, **row: Any) -> None:
        """Append a row."""
        self.rows.append(row)
        if self.path is None:
            return
        try:
            with open(self.path, "ab") as file:
                file.write(files.dump_json(row, indent=None))
        except OSError as error:
            raise ModelError(f"{self.path} cannot be written", got=error.strerror) from None

    def sync(self) -> int:
        """Bring the file to the disk, before a checkpoint speaks of it; its size."""
        if self.path is None or not self.path.exists():
            return 0
        with open(self.path, "rb+") as file:
            os.fsync(file.fileno())
            return file.seek(0, os.SEEK_END)

    def epochs(self) -> list[dict[str, Any]]:
        """The rows that tell of a whole epoch."""
        return [row for row in self.rows if row["event"] == "epoch"]


def plain(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The single figures among `metrics`: what a log's row holds."""
    return {name: value for name, value in metrics.items() if isinstance(value, int | float)}
