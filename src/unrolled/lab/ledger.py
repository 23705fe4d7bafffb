"""What an experiment has found so far: rows come in one by one; those of finished runs go out.

A row is written in one piece, when its run has ended. A process that is killed loses the run it was
in and nothing else; a row whose key is asked for again is not run again.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from unrolled import files
from unrolled.errors import DataError
from unrolled.inspect.tables import save_rows


class Ledger:
    """The file runs.jsonl of an experiment's folder, or the same in memory.

    Args:
        folder: where the file is; None keeps rows in memory.

    Raises:
        DataError: the folder cannot be written.
        ModelError: the file holds something else.

    Example:
        >>> ledger = Ledger(None)
        >>> _ = ledger.add({"cell": "gru", "seed": 0}, error=0.5)
        >>> ledger.find({"seed": 0, "cell": "gru"})["error"], ledger.find({"cell": "rnn"})
        (0.5, None)
    """

    def __init__(self, folder: str | Path | None):
        self.rows: list[dict[str, Any]] = []
        self.path: Path | None = None
        if folder is None:
            return
        self.path = Path(folder).expanduser() / "runs.jsonl"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _refused(self.path, error) from None
        if not self.path.exists():
            return
        content = files.read(self.path, limit=2**30)
        whole = content[: content.rfind(b"\n") + 1]  # a line that was being written when it ended
        for line in whole.splitlines():
            row = files.parse_json(line, str(self.path))
            if not isinstance(row, dict) or not isinstance(row.get("key"), dict):
                raise DataError(str(self.path), expected="rows of an experiment", got=str(row)[:60])
            self.rows.append(row)
        if whole != content:
            files.write(self.path, whole)

    @property
    def folder(self) -> Path | None:
        """Where the file is."""
        return None if self.path is None else self.path.parent

    def find(
        self, key: Mapping[str, Any], fits: Callable[[dict[str, Any]], bool] | None = None
    ) -> dict[str, Any] | None:
        """The row of a run that has ended, and that `fits`; the latest where there are several."""
        for row in reversed(self.rows):
            if row["key"] == key and (fits is None or fits(row)):
                return row
        return None

    def add(self, key: Mapping[str, Any], **found: Any) -> dict[str, Any]:
        """Write down what a run came to; what is asked for is the key, and decides all of it.

        Raises:
            DataError: the file cannot be written.
        """
        row = {"key": dict(key), **found}
        if self.path is not None:
            try:
                with open(self.path, "ab") as file:
                    file.write(files.dump_json(row, indent=None))
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise _refused(self.path, error) from None
        self.rows.append(row)
        return row


def save_table(rows: list[dict[str, Any]], path: Path) -> Path:
    """Rows as a .csv file: the key's columns first, then single figures; no curves.

    Raises:
        DataError: the file cannot be written.
    """
    flat = [
        {
            **{k: _cell(v) for k, v in row["key"].items()},
            **{k: v for k, v in row.items() if not isinstance(v, dict | list)},
        }
        for row in rows
    ]
    columns = dict.fromkeys(name for row in flat for name in row)
    return save_rows([{name: row.get(name, "") for name in columns} for row in flat], path)


def _cell(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list) else value


def _refused(path: Path, error: OSError) -> DataError:
    return DataError(
        f"{path} cannot be written",
        got=error.strerror or str(error),
        fix="Choose another folder: --out DIR",
    )
