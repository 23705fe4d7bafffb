"""What comes next: a text comes in as tokens; the probability of each next token goes out.

Trained by truncated backpropagation through time: the text is cut into B streams and these into
windows of T tokens. The state is carried from each window to the next, detached: gradients stop
exactly where a window begins, values do not. Where a pass over the text starts, the state is the
cell's own.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.data import windows
from unrolled.data.corpus import Corpus, Text, numbers, written
from unrolled.data.windows import IGNORED, Window
from unrolled.errors import UsageError
from unrolled.files import with_fields
from unrolled.inspect import Trace
from unrolled.layers import Recurrent
from unrolled.messages import tr
from unrolled.tasks.next_token import NextToken
from unrolled.tasks.sampling import Taste, Writer
from unrolled.text import BOS, EOS, PAD, SPECIAL, UNK, Tokenizer, from_json, read_vectors

States = dict[str, Tensor]
_FIELDS = {"window", "tokenizer", "recurrent", "network"}


class Reading:
    """Windows of a text, and the text, whose characters and words turn losses into rates."""

    def __init__(self, parts: Iterator[Window], text: Text):
        self.parts, self.text = parts, text

    def __iter__(self) -> Iterator[Window]:
        return self.parts


class Language:
    """The task of predicting the next token of a text.

    Args:
        network: embedding, recurrent layers and softmax.
        tokenizer: from text to token numbers and back.
        window: T, steps through which gradients go back.

    Raises:
        UsageError: a value that it cannot have.

    Example:
        >>> from unrolled.data.corpus import corpus_of
        >>> text = corpus_of("the rain in spain stays mainly in the plain. " * 20)
        >>> task = Language.for_dataset(text, cell="gru", hidden=16)
        >>> len(task.sample("the ", length=10, seed=1))
        10
    """

    name = "language"
    reads_texts = True
    usage = ['print(model.sample("", 200, temperature=0.8, seed=1))']  # in the model card

    def __init__(self, network: NextToken, tokenizer: Tokenizer, window: int = 128):
        if type(window) is not int or window < 1:
            raise UsageError("window", expected="a whole number of at least 1", got=repr(window))
        if len(tokenizer) != network.vocabulary:
            raise UsageError(
                "the vocabulary", expected=f"{network.vocabulary} tokens", got=len(tokenizer)
            )
        self.model, self.tokenizer, self.window = network, tokenizer, window
        self.labels: list[str] = []
        self.carried: States = {}

    @classmethod
    def for_dataset(
        cls,
        dataset: Corpus,
        *,
        cell: Any = "lstm",
        hidden: int = 128,
        layers: int = 1,
        seed: int = 0,
        window: int = 128,
        embedding: int | str = 64,
        tied: bool = False,
        softmax: str = "full",
        cutoffs: Sequence[int] | None = None,
        embedding_dropout: float = 0.0,
        input_dropout: float = 0.0,
        head_dropout: float = 0.0,
        **options: Any,
    ) -> "Language":
        """A new network for `dataset`, its first weights decided by `seed`.

        Args:
            dataset: gives the vocabulary.
            cell: name, `FILE.py:Class`, class or object.
            hidden: H.
            layers: L.
            seed: of the first weights.
            window: T.
            embedding: E, "one-hot", or a file of word vectors (or a model directory of them) that
                the embedding starts from.
            tied, softmax, cutoffs, embedding_dropout, input_dropout, head_dropout: as for
                `NextToken`.
            options: further options of `Recurrent`.

        Raises:
            UsageError, CellError, BackendError: a value that it cannot have.
        """
        size, one_hot = len(dataset.tokenizer), embedding == "one-hot"
        given = read_vectors(embedding) if isinstance(embedding, str) and not one_hot else None
        if not one_hot and given is None and (type(embedding) is not int or embedding < 1):
            raise UsageError(
                "embedding",
                expected="a number of features, 'one-hot' or a file of vectors",
                got=repr(embedding),
            )
        wide = given.size if given is not None else embedding
        order = None
        if softmax == "adaptive":
            counts = np.bincount(dataset.train.ids, minlength=size)
            order = np.argsort(-counts, kind="stable").tolist()
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            width = size if one_hot else int(wide)
            network = NextToken(
                Recurrent(cell, width, hidden, layers, **options),
                size,
                one_hot=one_hot,
                tied=tied,
                softmax=softmax,
                cutoffs=cutoffs,
                order=order,
                embedding_dropout=embedding_dropout,
                input_dropout=input_dropout,
                head_dropout=head_dropout,
            )
        if given is not None:
            network.start_from(*given.rows(dataset.tokenizer.tokens))
        return cls(network, dataset.tokenizer, window)

    def config(self) -> dict[str, Any]:
        """What rebuilds the task without its weights and labels, as plain JSON."""
        return {
            "name": self.name,
            "window": self.window,
            "tokenizer": self.tokenizer.to_json(),
            "network": self.model.config(),
            "recurrent": self.model.recurrent.config(),
        }

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], labels: Sequence[str], *, backend: str = "auto"
    ) -> "Language":
        """The task that `config` describes, its weights yet to be loaded.

        Raises:
            UnrolledError: a field is missing, unknown or has a value it cannot have.
        """
        with_fields({"name": cls.name, **config}, {"name", *_FIELDS}, "the task's configuration")
        recurrent = Recurrent.from_config(config["recurrent"], backend=backend)
        tokenizer = from_json(config["tokenizer"])
        network = NextToken(recurrent, len(tokenizer), **config["network"])
        return cls(network, tokenizer, config["window"])

    def describe(self) -> str:
        """The network in one line."""
        layer, network = self.model.recurrent, self.model
        return tr(
            "{layers} x {cell} {hidden} over {vocabulary} {level}, {softmax} softmax (backend "
            "{backend})",
            layers=layer.num_layers,
            cell=layer.cell.name,
            hidden=layer.hidden_size,
            vocabulary=network.vocabulary,
            level=tr(self.tokenizer.level),
            softmax=tr("tied") if network.tied else tr(network.softmax),
            backend=layer.backend,
        )

    def batches(
        self, split: Text, size: int, *, seed: int | None = None, epoch: int = 0, start: int = 0,
        augment: str = "none",
    ) -> Reading:  # fmt: skip
        """With a seed, the windows of one pass of training; without, those of an evaluation."""
        if augment not in (None, "none"):
            raise UsageError(f"augment={augment!r}", expected="images", got="a text")
        if seed is None:
            return Reading(windows.evaluation(split.ids, size, self.window), split)
        order = {"seed": seed, "epoch": epoch, "start": start}
        return Reading(windows.training(split.ids, size, self.window, **order), split)

    def count(self, split: Text, size: int) -> int:
        """How many windows one pass of training has."""
        return windows.count(len(split), size, self.window)

    @staticmethod
    def move(batch: Window, device: torch.device) -> Window:
        """The window on `device`."""
        moved = {
            name: getattr(batch, name).to(device, non_blocking=True)
            for name in ("inputs", "targets", "fresh")
        }
        return batch._replace(**moved)

    def loss(self, batch: Window) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean loss of a window in nats a token; the state after it is kept for the next."""
        output, state = self.model(batch.inputs, self._before(batch, self.carried))
        self.carried = {name: value.detach() for name, value in state.items()}
        return self.model.loss(output, batch.targets), {}

    def peek(self, batch: Window, count: int) -> Callable[[], Tensor]:
        """The loss of the first `count` streams of a window, when it is called; nothing is kept."""
        first = Window(
            batch.inputs[:count], None, batch.targets[:count], batch.index, batch.fresh[:count]
        )
        carried = {name: value[:, :count] for name, value in self.carried.items()}

        def loss() -> Tensor:
            output, _ = self.model(first.inputs, self._before(first, carried))
            return self.model.loss(output, first.targets)

        return loss

    def inspect(self, texts: Sequence[str], **options: Any) -> Trace:
        """What happened inside while texts were read: see `unrolled.tasks.looking.look`."""
        from unrolled.tasks.looking import look

        return look(self, texts, **options)

    @torch.no_grad()
    def evaluate(self, parts: Iterable[Window]) -> dict[str, Any]:
        """Figures over all windows: see `measured`."""
        device = next(self.model.parameters()).device
        training = self.model.training
        self.model.eval()
        nats, count = 0.0, 0
        state: States = {}
        for window in parts:
            window = self.move(window, device)
            losses, state = self.losses(window, state)
            nats += losses.double().sum().item()
            count += len(losses)
        self.model.train(training)
        text = parts.text if isinstance(parts, Reading) else None
        return self.measured(nats, count, text)

    def losses(self, window: Window, state: States) -> tuple[Tensor, States]:
        """Nats (N) of the N tokens of a window that count, and the state behind it.

        Args:
            window: on the model's device.
            state: behind the window before; empty before the first.
        """
        output, state = self.model(window.inputs, self._before(window, state))
        counted = window.targets != IGNORED
        if not bool(counted.any()):
            return output.new_zeros(0), state
        return self.model.losses(output[counted], window.targets[counted]), state

    def measured(self, nats: float, count: int, text: Text | None) -> dict[str, Any]:
        """Nats of `count` tokens as rates.

        Returns:
            `loss` in nats a token; `perplexity`, e to that; where the text is known
            `nats_per_character`, `bits_per_character` and `unknown`, the share of tokens that the
            vocabulary does not have.
        """
        loss = nats / max(count, 1)
        figures = {"loss": loss, "perplexity": math.exp(min(loss, 700))}
        if text is not None:
            first = len(self.decode(text.ids[:1].tolist()))  # given, not predicted
            per_character = nats / max(text.characters - first, 1)
            figures["nats_per_character"] = per_character
            figures["bits_per_character"] = per_character / math.log(2)
            figures["unknown"] = text.unknown / max(len(text), 1)
        return figures

    def score(self, metrics: Mapping[str, Any]) -> list[float]:
        """What a larger value of, in order, makes a better epoch."""
        return [-metrics["loss"]]

    def summary(self, metrics: Mapping[str, Any]) -> str:
        """The figure that matters, in words."""
        said = []
        if self.tokenizer.level != "characters":
            said.append(
                tr("perplexity {perplexity} a token", perplexity=f"{metrics['perplexity']:.2f}")
            )
        if "nats_per_character" in metrics:
            nats, bits = metrics["nats_per_character"], metrics["bits_per_character"]
            said.append(
                tr("{nats} nats a character ({bits} bits)", nats=f"{nats:.4f}", bits=f"{bits:.4f}")
            )
        if metrics.get("unknown"):
            said.append(tr("{share} % unknown tokens", share=f"{100 * metrics['unknown']:.2f}"))
        return ", ".join(said) or tr("{nats} nats a token", nats=f"{metrics['loss']:.4f}")

    def calibrate(self, parts: Iterable[Window]) -> None:
        """Nothing: probabilities are what is trained."""

    def writer(self, seed: int = 0, **taste: Any) -> Writer:
        """What reads a text and writes on, token by token; its state can be kept.

        Args:
            seed: of the draws.
            taste: `temperature`, `top_k`, `top_p`, as for `Taste`.

        Raises:
            UsageError: a value that it cannot have.
        """
        return Writer(self, Taste(**taste), seed)

    @property
    def first_token(self) -> int:
        """What is read where nothing was written before: a line's end, or any token."""
        first = numbers(self.tokenizer, "\n")
        return first[0] if first and first[0] != UNK else len(SPECIAL)

    @property
    def unwritable(self) -> list[int]:
        """Tokens that are never drawn: they have no characters."""
        return [PAD, UNK, BOS] + [EOS] * (self.tokenizer.level != "words")

    def encode(self, text: str) -> list[int]:
        """Token numbers of a prompt.

        Raises:
            UsageError: the model does not know a character of it.
        """
        found = numbers(self.tokenizer, text)
        if self.tokenizer.level == "characters" and UNK in found:
            strange = self.tokenizer.split(self.tokenizer.normalise(text))[found.index(UNK)]
            raise UsageError(
                f"the character {strange!r}",
                expected=f"one of the {len(self.tokenizer) - len(SPECIAL)} that the model knows",
                got=f"U+{ord(strange):04X}",
            )
        return found

    def decode(self, found: Sequence[int]) -> str:
        """The text of token numbers."""
        return written(self.tokenizer, found)

    def sample(
        self, prompt: str = "", length: int = 200, *, stop: str | None = None, seed: int = 0,
        **taste: Any,
    ) -> str:  # fmt: skip
        """What may follow `prompt`, in at most `length` tokens, up to and with the text `stop`.

        Raises:
            UsageError: a value that it cannot have, or a character that the model does not know.
        """
        writer = self.writer(seed, **taste)
        writer.read(prompt)
        return "".join(writer.write(length, stop))

    def _before(self, window: Window, state: States) -> States | None:
        """The state before a window: what was carried, or the first where a row is fresh."""
        if not state or bool(window.fresh.all()):
            return None
        if not bool(window.fresh.any()):
            return state
        like = next(self.model.recurrent.parameters())
        first = self.model.recurrent.initial_states(len(window.inputs), like)
        fresh = window.fresh[None, :, None]
        return {name: torch.where(fresh, first[name], value) for name, value in state.items()}
