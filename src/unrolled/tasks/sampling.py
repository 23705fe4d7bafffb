"""A language model comes in; text goes out, token by token, from a state that can be kept.

V tokens of the vocabulary. Draws come from a generator of the writer's own: equal seeds give equal
texts, whatever else the program draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from unrolled import files
from unrolled.errors import ModelError, UsageError
from unrolled.tensors import TensorFile, tensor_bytes

_LETTER = 8  # bytes, and so tokens at the most, that one letter and what is left of it may have


class Speaker(Protocol):
    """What a writer needs of a language model; `Language` says what each of these is."""

    model: Any

    @property
    def first_token(self) -> int: ...
    @property
    def unwritable(self) -> list[int]: ...
    def encode(self, text: str) -> list[int]: ...
    def decode(self, found: Sequence[int]) -> str: ...


@dataclass(frozen=True)
class Taste:
    """How a token is drawn.

    Args:
        temperature: divides the logits; 0 takes the likeliest.
        top_k: only the k likeliest may be drawn; 0 for all.
        top_p: only the likeliest that together reach this probability; 1 for all (nucleus
            sampling: Holtzman and others 2020, arXiv:1904.09751).

    Raises:
        UsageError: a value that it cannot have.

    Example:
        >>> logits = torch.tensor([0.6, 0.3, 0.1]).log()
        >>> Taste(top_k=2).probabilities(logits).round(3).tolist()
        [0.667, 0.333, 0.0]
        >>> Taste(top_p=0.6).probabilities(logits).tolist()
        [1.0, 0.0, 0.0]
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self):
        if not (_number(self.temperature) and 0 <= self.temperature < float("inf")):
            raise UsageError("temperature", expected="at least 0", got=repr(self.temperature))
        if type(self.top_k) is not int or self.top_k < 0:
            raise UsageError("top_k", expected="a whole number of at least 0", got=repr(self.top_k))
        if not (_number(self.top_p) and 0 < self.top_p <= 1):
            raise UsageError("top_p", expected="0 < it ≤ 1", got=repr(self.top_p))

    def probabilities(self, logits: Tensor, banned: Sequence[int] = ()) -> np.ndarray:
        """The probability with which each token is drawn, float64 (V,): after logits (V,).

        The temperature comes first, then top_k, then top_p; equal logits keep the order of their
        numbers.
        """
        values = logits.detach().double().cpu().numpy().copy()
        values[list(banned)] = -np.inf
        if self.temperature == 0:
            found = np.zeros(len(values))
            found[values.argmax()] = 1.0
            return found
        found = np.exp((values - values.max()) / self.temperature)
        found /= found.sum()
        order = np.argsort(-found, kind="stable")
        keep = len(order) if self.top_k == 0 else min(self.top_k, len(order))
        if self.top_p < 1:
            kept = found[order[:keep]]
            reached = np.cumsum(kept / kept.sum())
            # a hair of tolerance: probabilities that sum to p in exact numbers are enough
            keep = min(keep, int(np.searchsorted(reached, self.top_p - 1e-12)) + 1)
        found[order[keep:]] = 0.0
        return found / found.sum()


class Writer:
    """Reads text and writes what may follow; one foreign call of the engine a token.

    Args:
        task: the language model, as it is now.
        taste: how tokens are drawn.
        seed: of the draws.

    Attributes:
        task: the model.
        taste: how tokens are drawn.

    Example:
        >>> writer = model.writer(temperature=0.8, seed=1)  # doctest: +SKIP
        >>> writer.read("ROMEO:")  # doctest: +SKIP
        >>> "".join(writer.write(100))  # doctest: +SKIP
    """

    def __init__(self, task: Speaker, taste: Taste | None = None, seed: int = 0):
        if type(seed) is not int or not 0 <= seed < 2**32:
            raise UsageError("seed", expected="a whole number from 0 to 4294967295", got=repr(seed))
        self.task, self.taste = task, taste or Taste()
        self._model = task.model.eval()
        self._stream = self._model.recurrent.stream()
        self._generator = torch.Generator().manual_seed(seed)
        self._logits: Tensor | None = None  # of the token to come; None before the first was read
        self._said: list[int] = []  # the last token whose characters were said
        self._unsaid: list[int] = []  # tokens behind it, whose characters are not whole yet

    def read(self, text: str) -> None:
        """Let the model read `text`, which then counts as written.

        Raises:
            UsageError: the model does not know a character of it.
        """
        tokens = self.task.encode(text)
        for token in tokens:
            self._take(token)
        if tokens:
            self._said, self._unsaid = tokens[-1:], []

    def write(self, length: int, stop: str | None = None) -> Iterator[str]:
        """What follows, piece by piece: `length` tokens, or up to and with the text `stop`.

        Raises:
            UsageError: the length cannot be.
        """
        if type(length) is not int or length < 0:
            raise UsageError("length", expected="a whole number of at least 0", got=repr(length))
        return self._write(length, stop)

    def _write(self, length: int, stop: str | None) -> Iterator[str]:
        tail = ""
        for step in range(length):
            token = self._draw()
            self._take(token)
            piece = self._say(token, last=step == length - 1)
            if stop:
                seen = tail + piece
                found = seen.find(stop)
                if found >= 0:
                    yield piece[: found + len(stop) - len(tail)]
                    return
                tail = seen[max(len(seen) - len(stop) + 1, 0) :]
            if piece:
                yield piece

    def save(self, path: str | Path) -> None:
        """Keep the state in a file: a writer that loads it goes on as this one would.

        Raises:
            ModelError: the disk refuses.
        """
        tensors = {f"state.{name}": value for name, value in self._stream.state.items()}
        tensors["random"] = self._generator.get_state()
        tensors["said"] = torch.tensor(self._said, dtype=torch.int64)
        tensors["unsaid"] = torch.tensor(self._unsaid, dtype=torch.int64)
        if self._logits is not None:
            tensors["logits"] = self._logits
        files.write(Path(path), tensor_bytes(tensors))

    def load(self, path: str | Path) -> None:
        """Go on from a state that `save` kept, of the same model.

        Raises:
            ModelError: the file is broken, or of another model.
        """
        file = TensorFile(Path(path))
        wanted = {f"state.{name}": value for name, value in self._stream.state.items()}
        wanted["random"] = self._generator.get_state()
        if "logits" in file.entries:
            wanted["logits"] = torch.empty(self._model.vocabulary)
        for name in ("said", "unsaid"):
            count = file.entries[name].shape if name in file.entries else (0,)
            wanted[name] = torch.empty(count, dtype=torch.int64)
        file.expect(wanted)
        found = file.load(finite=False)
        said, unsaid = found["said"].flatten().tolist(), found["unsaid"].flatten().tolist()
        if any(not 0 <= token < self._model.vocabulary for token in [*said, *unsaid]):
            raise ModelError(f"{path} is no state of this model", got="a token it does not have")
        self._stream.state = {name: found[f"state.{name}"] for name in self._stream.state}
        try:
            self._generator.set_state(found["random"])
        except RuntimeError as error:
            raise ModelError(
                f"{path} is no state of this model", got=" ".join(str(error).split())
            ) from None
        self._logits, self._said, self._unsaid = found.get("logits"), said, unsaid

    @torch.no_grad()
    def _take(self, token: int) -> None:
        output = self._stream(self._model.read(torch.tensor([token])))
        self._logits = self._model.log_probs(output)[0]

    def _draw(self) -> int:
        if self._logits is None:
            self._take(self.task.first_token)
        assert self._logits is not None  # a token was read
        chances = self.taste.probabilities(self._logits, self.task.unwritable)
        at = torch.rand((), dtype=torch.float64, generator=self._generator).item()
        # the last possible token catches what rounding leaves of the sum
        return int(min(np.searchsorted(np.cumsum(chances), at, "right"), chances.nonzero()[0][-1]))

    def _say(self, token: int, last: bool) -> str:
        """The characters that `token` completes: a letter of several bytes may need several."""
        self._unsaid.append(token)
        before = self.task.decode(self._said)
        text = self.task.decode([*self._said, *self._unsaid])
        if text.endswith("\ufffd") and not last and len(self._unsaid) < _LETTER:
            return ""
        self._said, self._unsaid = [token], []
        return text[len(before) :]


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value
