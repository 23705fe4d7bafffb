"""What was encoded and the tokens said so far come in; what each next token may be goes out.

B sequences, T tokens said, S places of the memory, M its features, H units, V tokens, W features of
an output. One decoder serves translations and captions; the cell is any.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from unrolled.errors import UsageError
from unrolled.layers import Recurrent
from unrolled.layers.attention import Attention
from unrolled.layers.steps import one_run
from unrolled.tasks.next_token import fast_loss
from unrolled.text import BOS, EOS, PAD, UNK

FEEDINGS = ("none", "between", "input")
STARTS = ("state", "input", "none")
States = dict[str, Tensor]


class Memory(NamedTuple):
    """What an encoder hands on.

    Attributes:
        values: (B, S, M) places to look at, or None.
        valid: bool (B, S), or None where all places are.
        summary: (B, Q) the whole in one vector.
    """

    values: Tensor | None
    valid: Tensor | None
    summary: Tensor

    def take(self, rows: Tensor) -> Memory:
        """The memory of some of the sequences."""
        return Memory(*[None if part is None else part[rows] for part in self])  # type: ignore[arg-type]  # the summary is there


class Decoder(nn.Module):
    """Recurrent layers that say one token after the other, looking at a memory.

    Args:
        recurrent: the layers, in one direction; they read E features, and W more where feeding is
            "input".
        vocabulary: V.
        embedding: E.
        memory: M; 0 where attention is "none".
        summary: Q.
        upper: with feeding "between": layers that read the first ones' output and what it looked
            at.
        attention: "multiplicative", "additive" or "none".
        feeding: what layers know of where was looked. "none": nothing; they run over the whole
            sequence in one call, and looking comes after (Luong 2015). "between": the upper layers
            all of it, the lower none; two calls (Wu and others 2016, arXiv:1609.08144). "input":
            all, a step late, which takes one call a step (Luong's input feeding).
        start: the summary becomes the first "state", the first "input" (Vinyals and others 2015,
            arXiv:1411.4555), or "none".
        tied: whether the softmax's matrix is the embedding.
        embedding_dropout, memory_dropout, head_dropout: probabilities of dropping a feature.
        label_smoothing: ε, shared out among all tokens.
        sampling: probability that a token read in training is the network's own likeliest instead
            of the true one (scheduled sampling: Bengio and others 2015, arXiv:1506.03099).

    Raises:
        UsageError: a value that it cannot have.

    Example:
        >>> decoder = Decoder(Recurrent("gru", 8, 16), 50, embedding=8, memory=6, summary=6)
        >>> memory = Memory(torch.randn(2, 5, 6), None, torch.randn(2, 6))
        >>> output, weights = decoder(torch.tensor([[2, 7, 9]] * 2), memory)
        >>> decoder.log_probs(output).shape, weights.shape
        (torch.Size([2, 3, 50]), torch.Size([2, 3, 5]))
    """

    def __init__(
        self,
        recurrent: Recurrent,
        vocabulary: int,
        *,
        embedding: int,
        memory: int,
        summary: int,
        upper: Recurrent | None = None,
        attention: str = "multiplicative",
        feeding: str = "none",
        start: str = "state",
        tied: bool = False,
        embedding_dropout: float = 0.0,
        memory_dropout: float = 0.0,
        head_dropout: float = 0.0,
        label_smoothing: float = 0.0,
        sampling: float = 0.0,
    ):
        super().__init__()
        if feeding not in FEEDINGS:
            raise UsageError("feeding", expected=", ".join(FEEDINGS), got=repr(feeding))
        if start not in STARTS:
            raise UsageError("start", expected=", ".join(STARTS), got=repr(start))
        if attention == "none" and feeding != "none":
            raise UsageError("feeding", expected="none, without attention", got=repr(feeding))
        if recurrent.bidirectional:
            raise UsageError("the decoder", expected="one direction", got="both")
        if feeding == "input" and recurrent.variational:
            raise UsageError(
                "variational",
                expected="0 where feeding is 'input'",
                got=recurrent.variational,
                fix="Its one draw a sequence needs the whole sequence in one call.",
            )
        for name, rate in (
            ("embedding_dropout", embedding_dropout),
            ("memory_dropout", memory_dropout),
            ("head_dropout", head_dropout),
            ("label_smoothing", label_smoothing),
            ("sampling", sampling),
        ):
            if type(rate) not in (int, float) or not 0 <= rate < 1:
                raise UsageError(name, expected="0 ≤ it < 1", got=repr(rate))
        self.recurrent, self.upper, self.vocabulary = recurrent, upper, vocabulary
        self.feeding, self.start, self.tied = feeding, start, bool(tied)
        self.label_smoothing, self.sampling = float(label_smoothing), float(sampling)
        self.embedding_dropout = nn.Dropout(embedding_dropout)
        self.memory_dropout = nn.Dropout(memory_dropout)
        self.head_dropout = nn.Dropout(head_dropout)
        units = (recurrent if upper is None else upper).output_size
        self.width = embedding if tied else units
        self.embedding = nn.Embedding(vocabulary, embedding)
        nn.init.normal_(self.embedding.weight, std=embedding**-0.5)
        self.attention = None
        if attention != "none":
            self.attention = Attention(recurrent.output_size, memory, attention)
        looked = 0 if self.attention is None else memory
        self.combine = nn.Linear(units + looked, self.width) if looked or tied else None
        self.head = nn.Linear(self.width, vocabulary)
        nn.init.zeros_(self.head.bias)
        if tied:
            self.head.weight = self.embedding.weight
        layers = [recurrent] if upper is None else [recurrent, upper]
        self.opening = nn.ModuleList(self._openings(summary, layers))

    def _openings(self, summary: int, layers: list[Recurrent]) -> list[nn.Module]:
        if self.start == "none":
            return []
        if self.start == "input":
            return [nn.Linear(summary, self.recurrent.input_size)]
        sizes = [sum(self._finite(layer, 1)[1].values()) for layer in layers]
        return [nn.Linear(summary, size) for size in sizes]

    @staticmethod
    def _finite(layer: Recurrent, batch: int) -> tuple[States, dict[str, int]]:
        """The layer's own first states, and the width of those that a summary can set."""
        like = next(layer.parameters())
        first = layer.initial_states(batch, like)
        fits = {
            name: value.shape[0] * value.shape[2]
            for name, value in first.items()
            if name in layer.cell.states and abs(layer.cell.init[name]) != float("inf")
        }
        return first, fits

    def config(self) -> dict[str, Any]:
        """What rebuilds it beside the layers, V, M and Q, as plain JSON."""
        return {
            "embedding": self.embedding.embedding_dim,
            "attention": "none" if self.attention is None else self.attention.kind,
            "feeding": self.feeding,
            "start": self.start,
            "tied": self.tied,
            "embedding_dropout": self.embedding_dropout.p,
            "memory_dropout": self.memory_dropout.p,
            "head_dropout": self.head_dropout.p,
            "label_smoothing": self.label_smoothing,
            "sampling": self.sampling,
        }

    def first_states(self, memory: Memory) -> list[States]:
        """The states before the first token, of the layers and of the upper ones."""
        layers = [self.recurrent] if self.upper is None else [self.recurrent, self.upper]
        batch = len(memory.summary)
        found = []
        for k, layer in enumerate(layers):
            first, fits = self._finite(layer, batch)
            if self.start == "state":
                opened = torch.tanh(self.opening[k](memory.summary))
                for (name, size), part in zip(
                    fits.items(), opened.split(list(fits.values()), 1), strict=True
                ):
                    rows = first[name].shape[0]
                    first[name] = part.view(batch, rows, size // rows).transpose(0, 1).contiguous()
            elif self.start == "input" and not k:
                _, first = layer.step(self.opening[0](memory.summary), first)
            found.append(first)
        return found

    def forward(
        self, tokens: Tensor, memory: Memory, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Outputs after each of the tokens, the first of which is `BOS`.

        Args:
            tokens: int64 (B, T).
            memory: of the B sequences.
            lengths: (B) valid tokens, on the CPU; outputs are the same without them, but layers run
                over the padding too. With feeding "input" they only tell the inspector.

        Returns:
            (B, T, W), and where was looked: (B, T, S), or None without attention.
        """
        if memory.values is not None:
            memory = memory._replace(values=self.memory_dropout(memory.values))
        keys = self.keys(memory)
        states = self.first_states(memory)
        if self.training and self.sampling:
            tokens = self._own(tokens, memory, keys, states)
        x = self.embedding_dropout(self.embedding(tokens))
        if self.feeding == "input":
            if lengths is None:
                return self._by_steps(x, memory, keys, states[0])
            with one_run(self.recurrent, lengths):
                return self._by_steps(x, memory, keys, states[0])
        h, _ = self.recurrent(x, states[0], lengths=lengths)
        found, weights = self.look(h, memory, keys)
        if self.upper is not None:
            both = torch.cat([h, found], -1)  # type: ignore[list-item]  # looked
            h, _ = self.upper(both, states[1], lengths=lengths)
        return self.said(h, found), weights

    def keys(self, memory: Memory) -> Tensor | None:
        """What the attention compares with, made once."""
        if self.attention is None or memory.values is None:
            return None
        return self.attention.keys(memory.values)

    def look(
        self, h: Tensor, memory: Memory, keys: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """What h (B, T, H) looks at: (B, T, M), with weights (B, T, S)."""
        if self.attention is None:
            return None, None
        assert memory.values is not None  # attention has something to look at
        assert keys is not None
        return self.attention(h, memory.values, keys, memory.valid)

    def said(self, h: Tensor, found: Tensor | None) -> Tensor:
        """The output (…, W) of states h (…, H) and of what was looked at."""
        if self.combine is None:
            return h
        whole = h if found is None else torch.cat([h, found], -1)
        return torch.tanh(self.combine(whole))

    def _by_steps(
        self, x: Tensor, memory: Memory, keys: Tensor | None, state: States
    ) -> tuple[Tensor, Tensor]:
        fed = x.new_zeros(len(x), self.width)
        outputs, weights = [], []
        for t in range(x.shape[1]):
            h, state = self.recurrent.step(torch.cat([x[:, t], fed], -1), state)
            found, where = self.look(h.unsqueeze(1), memory, keys)
            assert found is not None  # feeding goes with attention
            assert where is not None
            fed = self.said(h, found[:, 0])
            outputs.append(fed)
            weights.append(where)
        return torch.stack(outputs, 1), torch.cat(weights, 1)

    @torch.no_grad()
    def _own(
        self, tokens: Tensor, memory: Memory, keys: Tensor | None, states: list[States]
    ) -> Tensor:
        """Tokens of which some are what the network itself would have said there.

        All are drawn after one pass over the true ones (Mihaylova and Martins 2019,
        arXiv:1906.07651), which keeps the whole sequence in one call.
        """
        x = self.embedding(tokens)
        if self.feeding == "input":
            output, _ = self._by_steps(x, memory, keys, states[0])
        else:
            h, _ = self.recurrent(x, states[0])
            found, _ = self.look(h, memory, keys)
            if self.upper is not None:
                h, _ = self.upper(torch.cat([h, found], -1), states[1])  # type: ignore[list-item]  # looked
            output = self.said(h, found)
        likeliest = self.head(output).argmax(-1)
        own = torch.cat([tokens[:, :1], likeliest[:, :-1]], 1)
        chosen = torch.rand(tokens.shape, device=tokens.device) < self.sampling
        chosen[:, 0] = False
        return torch.where(chosen & (tokens > EOS), own, tokens)

    def log_probs(self, output: Tensor) -> Tensor:
        """Log probabilities (…, V) after outputs (…, W)."""
        return torch.log_softmax(self.head(output).float(), -1)

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """The mean loss, smoothed, of targets int64 (B, T) after outputs; padding not counted."""
        counted = targets != PAD
        rows, wanted = self.head_dropout(output[counted]), targets[counted]
        if self.vocabulary >= 1000 and rows.device.type == "cpu" and rows.requires_grad:
            return fast_loss(
                rows, self.head.weight, self.head.bias, wanted, smoothing=self.label_smoothing
            )
        return functional.cross_entropy(
            self.head(rows).float(), wanted, label_smoothing=self.label_smoothing
        )

    @torch.no_grad()
    def nats(self, output: Tensor, targets: Tensor) -> tuple[float, int]:
        """The sum of -log P of the targets, and how many they are."""
        counted = targets != PAD
        rows, wanted = output[counted], targets[counted]
        total = functional.cross_entropy(self.head(rows).float(), wanted, reduction="sum")
        return total.item(), len(wanted)


def shifted(targets: Tensor) -> Tensor:
    """What is read when targets (B, T) are said: `BOS`, then all but the last.

    Example:
        >>> shifted(torch.tensor([[7, 8, 3]])).tolist()
        [[2, 7, 8]]
    """
    return torch.cat([torch.full_like(targets[:, :1], BOS), targets[:, :-1]], 1)


class Saying:
    """A decoder as a running process: K rows of each of B sequences, a token a row and step.

    The layers' weights are bound when it is made; `streams` keeps what was bound, by the number of
    rows, for the next one of the same decoder.

    Args:
        decoder: as it is now; run as in evaluation.
        memory: of B sequences.
        rows: K.
        streams: what was bound before.
    """

    unsayable = (PAD, UNK, BOS)

    def __init__(
        self, decoder: Decoder, memory: Memory, rows: int, streams: dict[Any, Any] | None = None
    ):
        self.decoder, self.memory, self.rows = decoder, memory, rows
        self.streams = {} if streams is None else streams
        self.keys = decoder.keys(memory)
        states = [
            {name: value.repeat_interleave(rows, 1) for name, value in first.items()}
            for first in decoder.first_states(memory)
        ]
        self._bind(states)
        self.fed = memory.summary.new_zeros(len(memory.summary) * rows, decoder.width)

    def _bind(self, states: list[States]) -> None:
        decoder = self.decoder
        layers = (
            [decoder.recurrent] if decoder.upper is None else [decoder.recurrent, decoder.upper]
        )
        count = next(iter(states[0].values())).shape[1]
        if count not in self.streams:
            self.streams[count] = [layer.stream(count) for layer in layers]
        self.running = self.streams[count]
        for stream, state in zip(self.running, states, strict=True):
            stream.state = state

    @torch.no_grad()
    def __call__(self, tokens: Tensor) -> Tensor:
        """Logits (B·K, V) after one more token a row, int64 (B·K)."""
        decoder = self.decoder
        x = decoder.embedding(tokens)
        if decoder.feeding == "input":
            x = torch.cat([x, self.fed], -1)
        h = self.running[0](x)
        found, _ = decoder.look(h.view(-1, self.rows, h.shape[-1]), self.memory, self.keys)
        looked = None if found is None else found.flatten(0, 1)
        if decoder.upper is not None:
            h = self.running[1](torch.cat([h, looked], -1))  # type: ignore[list-item]  # looked
        self.fed = decoder.said(h, looked)
        return decoder.head(self.fed)

    def pick(self, rows: Tensor, sequences: Tensor | None = None) -> None:
        """Go on with other rows, int64 (B'·K) of the present ones; of B' `sequences`, or all."""
        states = [
            {name: value[:, rows] for name, value in stream.state.items()}
            for stream in self.running
        ]
        self.fed = self.fed[rows]
        if sequences is not None:
            self.memory = self.memory.take(sequences)
            self.keys = None if self.keys is None else self.keys[sequences]
        self._bind(states)
