"""A network that remembers inputs and says what they mean comes in; losses, measures, words go out.

What `translate` and `caption` have in common: everything but what is read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.data.pairs import Pairs
from unrolled.errors import UsageError
from unrolled.inspect import Trace
from unrolled.layers import Recurrent
from unrolled.tasks.decoder import Memory, Saying, shifted
from unrolled.tasks.sampling import Taste
from unrolled.tasks.search import Hypothesis, beam_search, checked, sample_search
from unrolled.tasks.views import View
from unrolled.tasks.wording import Said, padded, written
from unrolled.text import EOS, PAD, Tokenizer

_ROWS = 320  # hypotheses that are searched side by side


class Teller(ABC):
    """A task that says something token by token: subclasses say what is read, and how.

    Attributes:
        model: has `decoder`.
        search: `beams`, `power` and `measure`, with what else a task searches by.
        words: the tokenizer of what is said.
    """

    kind = "texts"
    model: Any
    search: dict[str, Any]
    words: Tokenizer
    labels: list[str]

    @abstractmethod
    def batches(self, split: Pairs, size: int) -> Iterator[Any]:
        """A split in batches with `inputs`, `targets`, `index` and `texts`."""

    @abstractmethod
    def move(self, batch: Any, device: torch.device) -> Any:
        """The batch on `device`."""

    @abstractmethod
    def remember(self, batch: Any) -> Memory:
        """The memory of each input of a batch."""

    @abstractmethod
    def limits(self, batch: Any) -> list[int]:
        """How many tokens may be said of each input."""

    @abstractmethod
    def read(self, value: Any) -> tuple[str, ...]:
        """Names of the places of one input's memory."""

    @abstractmethod
    def measured(self, said: list[str], texts: list[list[str]]) -> dict[str, Any]:
        """How well what is said agrees with what people say."""

    @abstractmethod
    def given(self, inputs: Any) -> Pairs:
        """Raw inputs, checked, as a split."""

    @abstractmethod
    def part(self, batch: Any, rows: Tensor) -> Any:
        """Some inputs of a batch, with what is to be said of them."""

    @property
    @abstractmethod
    def reader(self) -> Recurrent | None:
        """The recurrent layers that read, if there are any."""

    @property
    @abstractmethod
    def joiner(self) -> str:
        """What stands between two of these names where they are written in a row."""

    @abstractmethod
    def steps(self, split: Pairs, batch: Any) -> tuple[Tensor, Tensor, list[list[str]]] | None:
        """What those read, (B) steps of each, and names of the steps."""

    @abstractmethod
    def taught(self, batch: Any, memory: Memory) -> Memory:
        """The memory of each row of a batch's targets."""

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean loss of a token that is said, smoothed as asked for.

        Raises:
            UsageError: the batch does not say what is to be said.
        """
        if batch.targets is None:
            raise UsageError("the loss", expected="a batch with texts to say", got="none")
        memory = self.taught(batch, self.remember(batch))
        output, _ = self.model.decoder(shifted(batch.targets), memory)
        return self.model.decoder.loss(output, batch.targets), {}

    def peek(self, batch: Any, count: int) -> Callable[[], Tensor]:
        """The loss of the first `count` inputs of a batch, when it is called."""
        decoder = self.model.decoder
        first = self.part(batch, torch.arange(min(count, len(batch.index))))

        def loss() -> Tensor:
            memory = self.taught(first, self.remember(first))
            sizes = (first.targets != PAD).sum(1).cpu()
            output, _ = decoder(shifted(first.targets), memory, sizes)
            return decoder.loss(output, first.targets)

        return loss

    def view(self, inputs: Any, target: str | None, at: int | None) -> View:
        """What the inspector looks at: see `unrolled.tasks.telling.view`."""
        from unrolled.tasks.telling import view

        return view(self, inputs, target, at)

    def inspect(self, inputs: Any, **options: Any) -> Trace:
        """What happened inside while inputs were read: see `unrolled.tasks.looking.look`."""
        from unrolled.tasks.looking import look

        return look(self, inputs, **options)

    @torch.no_grad()
    def evaluate(self, parts: Iterable[Any]) -> dict[str, Any]:
        """What is said against what people say; greedily while the network is in training.

        Returns:
            `loss`, nats a token; `perplexity`; and what the task measures.
        """
        device = next(self.model.parameters()).device
        training = self.model.training
        self.model.eval()
        decoder = self.model.decoder
        nats, count = 0.0, 0
        said: list[str] = []
        texts: list[list[str]] = []
        streams: dict[Any, Any] = {}
        for batch in parts:
            if batch.targets is None or batch.texts is None:
                continue
            batch = self.move(batch, device)
            memory = self.remember(batch)
            output, _ = decoder(shifted(batch.targets), self.taught(batch, memory))
            more, many = decoder.nats(output, batch.targets)
            nats, count = nats + more, count + many
            beams = 1 if training else self.search["beams"]
            found = self._search(batch, memory, streams, beams=beams)
            said += [self.words.decode(row[0].tokens) for row in found]
            texts += batch.texts
        self.model.train(training)
        loss = nats / max(count, 1)
        figures = {"loss": loss, "perplexity": float(np.exp(min(loss, 700.0)))}
        return {**figures, **self.measured(said, texts)}

    def score(self, metrics: Mapping[str, Any]) -> list[float]:
        """What a larger value of, in order, makes a better epoch."""
        return [metrics.get(self.search["measure"], 0.0), -metrics["loss"]]

    @torch.no_grad()
    def tell(
        self,
        split: Pairs,
        *,
        beams: int | None = None,
        best: int = 1,
        power: float | None = None,
        taste: Taste | None = None,
        seed: int = 0,
    ) -> list[list[Said]]:
        """The `best` things to say of each input, the likeliest first.

        Args:
            split: the inputs.
            beams: kept in the search; None as the task says.
            best: how many are wanted.
            power: of the length; None as the task says.
            taste: draw `best` of them instead of searching.
            seed: of the draws.

        Raises:
            UsageError: a number cannot be.
        """
        device = next(self.model.parameters()).device
        training = self.model.training
        self.model.eval()
        beams = max(self.search["beams"], best) if beams is None else beams
        found: list[list[Said]] = [[] for _ in range(len(split))]
        streams: dict[Any, Any] = {}
        options: Any = {"best": best, "power": power, "taste": taste, "seed": seed}
        for batch in self.batches(split, max(_ROWS // max(beams, 1), 1)):
            batch = self.move(batch, device)
            memory = self.remember(batch)
            hypotheses = self._search(batch, memory, streams, beams=beams, **options)
            for row, at in enumerate(batch.index.tolist()):
                found[at] = self._told(split.inputs[at], memory, row, hypotheses[row])
        self.model.train(training)
        return found

    def _search(
        self,
        batch: Any,
        memory: Memory,
        streams: dict[Any, Any],
        *,
        beams: int,
        best: int = 1,
        power: float | None = None,
        taste: Taste | None = None,
        seed: int = 0,
    ) -> list[list[Hypothesis]]:
        """Hypotheses for each input of a batch."""
        power = self.search["power"] if power is None else power
        limits = self.limits(batch)
        if taste is not None:
            saying = Saying(self.model.decoder, memory, best, streams)
            seeds = [seed + int(at) for at in batch.index]
            return sample_search(saying, limits, draws=best, taste=taste, seeds=seeds, power=power)
        checked(beams, best, power)
        saying = Saying(self.model.decoder, memory, beams, streams)
        return beam_search(saying, limits, beams=beams, best=best, power=power)

    def _told(
        self, value: Any, memory: Memory, row: int, hypotheses: Sequence[Hypothesis]
    ) -> list[Said]:
        """In words, with where was looked: the decoder is run over what it said once more."""
        rows = [[*one.tokens, EOS] for one in hypotheses]
        own = memory.take(torch.full((len(rows),), row, device=memory.summary.device))
        _, looked = self.model.decoder(shifted(padded(rows)).to(memory.summary.device), own)
        read = self.read(value)
        return [
            Said(
                self.words.decode(one.tokens),
                one.score,
                one.log_prob,
                tuple(written(self.words, tokens)),
                read,
                None if looked is None else looked[k, : len(tokens), : len(read)].cpu().numpy(),
            )
            for k, (one, tokens) in enumerate(zip(hypotheses, rows, strict=True))
        ]
