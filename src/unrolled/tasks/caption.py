"""One-to-many: an image comes in, what people would say of it goes out, word by word.

The decoder looks at the grid of a small convolutional network (Xu and others 2015,
arXiv:1502.03044), or takes the image as its first state or first input (Vinyals and others 2015,
arXiv:1411.4555). The cell is any.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.data.batch import checked_request
from unrolled.data.pairs import PairDataset, Pairs
from unrolled.errors import DataError, ModelError, UsageError
from unrolled.files import with_fields
from unrolled.layers import Recurrent
from unrolled.messages import tr
from unrolled.tasks.agreement import agreement, captions_agreement
from unrolled.tasks.captioner import Captioner, Pictures
from unrolled.tasks.decoder import Decoder, Memory
from unrolled.tasks.search import checked
from unrolled.tasks.teller import Teller
from unrolled.tasks.varying import varied
from unrolled.tasks.wording import Said, padded
from unrolled.text import Tokenizer, from_json, learn

_FIELDS = {"network", "search", "tokenizer", "recurrent", "upper", "encoder"}
_OWN = ("encoder", "shape", "levels", "fine", "channels", "memory", "encoder_dropout")
_NETWORK = (
    *_OWN,
    *"embedding attention feeding start tied embedding_dropout memory_dropout head_dropout "
    "label_smoothing sampling".split(),
)
MEASURES = ("bleu4", "exact")


class Caption(Teller):
    """The task of saying what an image shows.

    Args:
        captioner: the network.
        words: the tokenizer of what is said.
        search: `beams`, `power`, `measure`, `most` tokens that may be said, and how training images
            are changed: `crop`, `flip`, `elastic`.

    Example:
        >>> images = np.random.randint(0, 255, (20, 8, 8), np.uint8)
        >>> pairs = Pairs(images, [["a dog", "it runs"], ["two cats"]] * 10)
        >>> data = PairDataset("pets", pairs, pairs)
        >>> task = Caption.for_dataset(data, level="words", hidden=8, levels=2, channels=4)
        >>> said = task.predict(images[:1], beams=3)[0]
        >>> len(said), said[0].looked.shape[1], task.model.grid
        (1, 4, (2, 2))
    """

    name = "caption"
    reads_texts = False
    usage = ("model.predict(images)[0][0].text",)

    def __init__(self, captioner: Captioner, words: Tokenizer, search: Mapping[str, Any]):
        self.model, self.tokenizer, self.words = captioner, words, words
        self.search = {
            "beams": 5, "power": 1.0, "measure": "bleu4", "most": 40, "crop": 0, "flip": False,
            "elastic": 0.0, **search,
        }  # fmt: skip
        checked(self.search["beams"], 1, self.search["power"])
        if self.search["measure"] not in MEASURES:
            got = repr(self.search["measure"])
            raise UsageError("measure", expected=", ".join(MEASURES), got=got)
        for name, low in (("most", 1), ("crop", 0)):
            value = self.search[name]
            if type(value) is not int or not low <= value <= 10_000:
                raise UsageError(name, expected=f"a whole number from {low}", got=repr(value))
        if not isinstance(bent := self.search["elastic"], int | float) or not 0 <= bent <= 100:
            raise UsageError("elastic", expected="a number from 0 to 100", got=repr(bent))
        self.labels: list[str] = []
        self._numbered: dict[int, tuple[Pairs, list[list[list[int]]]]] = {}

    @classmethod
    def for_dataset(
        cls,
        dataset: PairDataset,
        *,
        cell: Any = "lstm",
        hidden: int = 256,
        layers: int = 1,
        seed: int = 0,
        embedding: int = 128,
        encoder: str = "cnn",
        levels: int = 4,
        fine: bool = False,
        channels: int = 32,
        memory: int = 256,
        encoder_dropout: float = 0.0,
        attention: str = "multiplicative",
        feeding: str = "none",
        start: str = "state",
        tied: bool = True,
        level: str = "words",
        vocabulary: int = 0,
        least: int = 1,
        lower: bool = True,
        embedding_dropout: float = 0.0,
        memory_dropout: float = 0.0,
        head_dropout: float = 0.0,
        label_smoothing: float = 0.0,
        sampling: float = 0.0,
        beams: int = 5,
        power: float = 1.0,
        most: int = 40,
        crop: int = 0,
        flip: bool = False,
        elastic: float = 0.0,
        measure: str = "bleu4",
        **options: Any,
    ) -> "Caption":
        """A new network for `dataset`, its first weights decided by `seed`.

        Args:
            dataset: gives the vocabulary, from the training part, and the shape of an input.
            cell: name, `FILE.py:Class`, class or object.
            hidden: H of the decoder.
            layers: of the decoder.
            seed: of the first weights.
            embedding: E.
            encoder, levels, fine, channels, memory: as for `Captioner`; features given choose the
                encoder of that name.
            encoder_dropout: its `dropout`.
            attention, feeding, start, tied, embedding_dropout, memory_dropout, head_dropout,
                label_smoothing, sampling: as for `Decoder`.
            level: "words", "subwords" or "characters".
            vocabulary: V; 0 for all.
            least: how often a token has to be seen.
            lower: whether letters are made small.
            beams, power: as for `beam_search`; what `evaluate` and `predict` take.
            most: tokens that may be said.
            crop: training images are moved by up to so many pixels.
            flip: every second training image is mirrored.
            elastic: pixels by which training images are bent.
            measure: "bleu4" or "exact": what validation chooses by.
            options: further options of `Recurrent`.

        Raises:
            UnrolledError: a value that it cannot have.
        """
        if dataset.train.texts is None:
            raise UsageError("the training part", expected="captions", got="none")
        learning: dict[str, Any] = {"size": vocabulary or None, "lower": lower, "least": least}
        texts = [text for row in dataset.train.texts for text in row]
        if level == "words":
            learning["split_at"] = "blanks"
        words = learn(level, texts, **learning)
        shape = _shape(dataset.train.inputs)
        encoder = "features" if len(shape) == 2 else encoder
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            columns = None
            if encoder == "columns":
                columns = Recurrent(
                    cell, shape[0] * shape[1], max(memory // 2, 1), bidirectional=True, **options
                )
            upper = None
            if feeding == "between":
                recurrent = Recurrent(cell, embedding, hidden, 1, **options)
                inputs = recurrent.output_size + memory
                upper = Recurrent(cell, inputs, hidden, max(layers - 1, 1), **options)
            else:
                first = Recurrent(cell, embedding, hidden, layers, **options)
                fed = (embedding if tied else first.output_size) if feeding == "input" else 0
                recurrent = Recurrent(cell, embedding + fed, hidden, layers, **options)
            given = locals()
            network = {name: given[name] for name in _NETWORK}
            network["shape"] = list(shape)
            captioner = _assembled(recurrent, upper, columns, words, network)
        search = {
            name: given[name] for name in "beams power most crop flip elastic measure".split()
        }
        return cls(captioner, words, search)

    def config(self) -> dict[str, Any]:
        """What rebuilds the task without its weights, as plain JSON."""
        model, decoder = self.model, self.model.decoder
        own = {
            "encoder": model.kind,
            "shape": list(model.shape),
            "levels": model.levels,
            "fine": model.fine,
            "channels": model.channels,
            "memory": model.map.out_features,
            "encoder_dropout": model.dropout.p,
        }
        return {
            "name": self.name,
            "network": {**own, **decoder.config()},
            "search": self.search,
            "tokenizer": self.tokenizer.to_json(),
            "recurrent": decoder.recurrent.config(),
            "upper": None if decoder.upper is None else decoder.upper.config(),
            "encoder": None if model.columns is None else model.columns.config(),
        }

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], labels: Sequence[str], *, backend: str = "auto"
    ) -> "Caption":
        """The task that `config` describes, its weights yet to be loaded.

        Raises:
            UnrolledError: a field is missing, unknown or has a value it cannot have.
        """
        with_fields({"name": cls.name, **config}, {"name", *_FIELDS}, "the task's configuration")
        network, search = with_fields(config["network"], _NETWORK, "the network"), config["search"]
        if not isinstance(search, Mapping):
            raise ModelError("search", expected="an object", got=type(search).__name__)
        shape = network["shape"]
        fine = isinstance(shape, list) and len(shape) in (2, 3)
        if not fine or not all(type(n) is int and 0 < n <= 10_000 for n in shape):
            raise ModelError("shape", expected="(C, H, W) or (S, F)", got=repr(shape)[:60])
        words = from_json(config["tokenizer"])
        layers = [
            None if config[name] is None else Recurrent.from_config(config[name], backend=backend)
            for name in ("recurrent", "upper", "encoder")
        ]
        if layers[0] is None:
            raise ModelError("the decoder's layers", expected="some", got="none")
        captioner = _assembled(layers[0], layers[1], layers[2], words, network)
        return cls(captioner, words, search)

    def describe(self) -> str:
        """The network in one line."""
        model, decoder = self.model, self.model.decoder
        layer, above = decoder.recurrent, decoder.upper
        firsts = {"state": tr("first state"), "input": tr("first input"), "none": tr("none")}
        return tr(
            "{encoder} gives {places} places, {layers} x {cell} {hidden} says {said} {level}, "
            "attention {attention}, image as {start} (backend {backend})",
            encoder=tr(model.kind),
            places=f"{model.grid[0]} x {model.grid[1]}",
            layers=layer.num_layers + (above.num_layers if above is not None else 0),
            cell=layer.cell.name,
            hidden=layer.hidden_size,
            said=decoder.vocabulary,
            level=tr(self.words.level),
            attention=tr("none" if decoder.attention is None else decoder.attention.kind),
            start=firsts[decoder.start],
            backend=layer.backend,
        )

    def batches(
        self,
        split: Pairs,
        size: int,
        *,
        seed: int | None = None,
        epoch: int = 0,
        start: int = 0,
        augment: str | None = None,
    ) -> Iterator[Pictures]:
        """Yield a split in batches of images with all their captions.

        With a seed they are mixed, moved and mirrored: a pure function of seed, epoch and batch.

        Raises:
            UsageError: the size cannot be, or an augmentation is asked for.
            DataError: the inputs are not of the network's shape.
        """
        checked_request(size, augment, "'none'; see crop, flip and elastic")
        if len(split) and _shape(split.inputs) != self.model.shape:
            raise DataError(
                split.source or "the inputs",
                expected=f"inputs of shape {self.model.shape}",
                got=_shape(split.inputs),
                fix="Bring images to the size that the network was trained on.",
            )
        order = np.arange(len(split))
        if seed is not None:
            # RandomState's streams are frozen by NumPy's promise; Generator's may change
            order = np.random.RandomState([seed % 2**32, epoch]).permutation(order)
        numbers = None if split.texts is None else self._numbers(split)
        for number, first in enumerate(range(0, len(order), size)):
            if number < start:
                continue
            index = order[first : first + size]
            inputs = _inputs(split.inputs[index])
            if seed is not None:
                draws = np.random.RandomState([seed % 2**32, epoch, number])
                changes = {name: self.search[name] for name in ("crop", "flip", "elastic")}
                inputs = varied(inputs, draws, **changes)
            said = [] if numbers is None else [numbers[i] for i in index]
            yield Pictures(
                torch.from_numpy(inputs),
                torch.tensor([k for k, row in enumerate(said) for _ in row], dtype=torch.int64),
                padded([one for row in said for one in row]) if said else None,
                torch.from_numpy(np.asarray(index, np.int64)),
                None if split.texts is None else [split.texts[i] for i in index],
            )

    def _numbers(self, split: Pairs) -> list[list[list[int]]]:
        """The captions of a split in token numbers, made once."""
        if id(split) not in self._numbered:
            if len(self._numbered) > 3:
                self._numbered.clear()
            said = [[self.words.encode(t, eos=True) for t in row] for row in split.texts or ()]
            self._numbered[id(split)] = split, said
        return self._numbered[id(split)][1]

    @staticmethod
    def count(split: Pairs, size: int) -> int:
        """How many batches that are."""
        return -(-len(split) // size)

    def move(self, batch: Pictures, device: torch.device) -> Pictures:
        """The batch on `device`."""
        targets = None if batch.targets is None else batch.targets.to(device)
        return batch._replace(
            inputs=batch.inputs.to(device), rows=batch.rows.to(device), targets=targets
        )

    def given(self, inputs: Any) -> Pairs:
        """Images or features as a split."""
        return Pairs(np.asarray(inputs))

    def part(self, batch: Pictures, rows: Tensor) -> Pictures:
        """Some images of a batch, with all that is said of them."""
        places = torch.full((len(batch.index),), -1)
        places[rows] = torch.arange(len(rows))
        own = places[batch.rows]
        return Pictures(
            batch.inputs[rows],
            own[own >= 0],
            None if batch.targets is None else batch.targets[own >= 0],
            batch.index[rows],
            None if batch.texts is None else [batch.texts[k] for k in rows.tolist()],
        )

    @property
    def reader(self) -> Recurrent | None:
        """The layer that reads columns, where one does."""
        return self.model.columns

    @property
    def joiner(self) -> str:
        """Room between columns; a blank between words of what is said, where those are shown."""
        if self.reader is not None:
            return "  "
        return " " if self.words.level == "words" else ""

    def steps(self, split: Pairs, batch: Pictures) -> tuple[Tensor, Tensor, list[list[str]]] | None:
        """The columns of the images, where they are read."""
        if self.reader is None:
            return None
        read = batch.inputs.permute(0, 3, 1, 2).flatten(2)
        names = [f"{tr('column')} {k + 1}" for k in range(read.shape[1])]
        return read, torch.full((len(read),), read.shape[1]), [names] * len(read)

    def remember(self, batch: Pictures) -> Memory:
        """The memory of each image."""
        return self.model.encode(batch.inputs)

    def taught(self, batch: Pictures, memory: Memory) -> Memory:
        """The memory of its image for each caption."""
        return memory.take(batch.rows)

    def limits(self, batch: Pictures) -> list[int]:
        """The same for every image."""
        return [self.search["most"]] * len(batch.index)

    def read(self, value: Any) -> tuple[str, ...]:
        """Places by row and column."""
        height, width = self.model.grid
        return tuple(f"{y + 1},{x + 1}" for y in range(height) for x in range(width))

    def measured(self, said: list[str], texts: list[list[str]]) -> dict[str, Any]:
        """The share said exactly, or what `captions_agreement` measures."""
        if self.search["measure"] == "exact":
            return agreement(said, texts, "exact")
        return captions_agreement(said, texts)

    def calibrate(self, parts: Iterable[Pictures]) -> None:
        """Nothing is calibrated: the probabilities are those of the model."""

    def summary(self, metrics: Mapping[str, Any]) -> str:
        """The figure that matters, in words."""
        if self.search["measure"] == "exact":
            return tr("{share} % said exactly", share=f"{100 * metrics['exact']:.2f}")
        return tr(
            "BLEU-4 {bleu} (on shuffled images {shuffled}), CIDEr {cider}, {distinct} % distinct",
            bleu=f"{metrics['bleu4']:.2f}",
            shuffled=f"{metrics['bleu4_shuffled']:.2f}",
            cider=f"{metrics['cider']:.3f}",
            distinct=f"{100 * metrics['distinct']:.1f}",
        )

    def predict(self, images: Any, **search: Any) -> list[list[Said]]:
        """The best captions of each image, the likeliest first.

        Args:
            images: uint8 (N, H, W[, 3]), or features float32 (N, F) or (N, S, F).
            search: `beams`, `best`, `power`, `taste` and `seed`, as for `tell`.

        Raises:
            DataError: they are not of the network's shape.
            UsageError: a number cannot be.
        """
        return self.tell(self.given(images), **search)


def _shape(inputs: Any) -> tuple[int, ...]:
    """(C, H, W) of images, (S, F) of features."""
    if inputs.dtype == np.uint8:
        height, width = inputs.shape[1:3]
        return (inputs.shape[3] if inputs.ndim == 4 else 1, height, width)
    return (1, inputs.shape[1]) if inputs.ndim == 2 else tuple(inputs.shape[1:])


def _inputs(values: np.ndarray) -> np.ndarray:
    """float32 (B, C, H, W) from 0 to 1, or features (B, S, F)."""
    if values.dtype != np.uint8:
        return values[:, None] if values.ndim == 2 else values
    pixels = values[:, None] if values.ndim == 3 else values.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(pixels, np.float32) / 255


def _assembled(
    recurrent: Recurrent,
    upper: Recurrent | None,
    columns: Recurrent | None,
    words: Tokenizer,
    network: Mapping[str, Any],
) -> Captioner:
    memory = network["memory"]
    inside = {name: value for name, value in network.items() if name not in _OWN}
    decoder = Decoder(recurrent, len(words), memory=memory, summary=memory, upper=upper, **inside)
    return Captioner(
        decoder,
        encoder=network["encoder"],
        shape=network["shape"],
        levels=network["levels"],
        fine=network["fine"],
        channels=network["channels"],
        memory=memory,
        columns=columns,
        dropout=network["encoder_dropout"],
    )
