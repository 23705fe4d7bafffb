"""Many-to-many through an encoder and a decoder: sentences come in, their translations go out.

An encoder reads the whole sentence both ways; a decoder says the translation token by token and
looks back at what was read (Bahdanau, Cho and Bengio 2015, arXiv:1409.0473). The cell is any.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.data.batch import alike, checked_request
from unrolled.data.pairs import PairDataset, Pairs
from unrolled.errors import ModelError, UsageError
from unrolled.files import with_fields
from unrolled.layers import Recurrent
from unrolled.messages import tr
from unrolled.tasks.agreement import MEASURES, agreement
from unrolled.tasks.decoder import Decoder, Memory
from unrolled.tasks.search import checked
from unrolled.tasks.teller import Teller
from unrolled.tasks.translator import Lines, Translator
from unrolled.tasks.wording import Languages, Said, heard, padded, written
from unrolled.text import learn

_FIELDS = {"network", "search", "tokenizer", "recurrent", "upper", "encoder"}
_NETWORK = (
    "embedding attention feeding start tied embedding_dropout memory_dropout head_dropout "
    "label_smoothing sampling token_dropout"
).split()


class Translate(Teller):
    """The task of saying in one language what was read in another.

    Args:
        translator: the network.
        languages: tokenizers of both sides.
        search: `beams`, `power`, `measure`, and `most`, how many tokens may be said of one read.

    Example:
        >>> pairs = Pairs(["ein Hund", "zwei Hunde"] * 9, [["a dog"], ["two dogs"]] * 9)
        >>> task = Translate.for_dataset(PairDataset("dogs", pairs, pairs), level="words", hidden=8)
        >>> said = task.predict(["ein Hund"], beams=3, best=2)[0]
        >>> len(said), said[0].looked.shape[1]
        (2, 3)
    """

    name = "translate"
    reads_texts = True
    usage = ('model.predict(["a sentence"], beams=5)[0][0].text',)

    def __init__(self, translator: Translator, languages: Languages, search: Mapping[str, Any]):
        self.model, self.tokenizer = translator, languages
        self.search = {"beams": 5, "power": 1.0, "measure": "bleu", "most": 2.0, **search}
        checked(self.search["beams"], 1, self.search["power"])
        if self.search["measure"] not in MEASURES:
            got = repr(self.search["measure"])
            raise UsageError("measure", expected=", ".join(MEASURES), got=got)
        most = self.search["most"]
        if type(most) not in (int, float) or not 0 < most <= 100:
            raise UsageError("most", expected="above 0, at most 100", got=repr(most))
        self.words, self.labels = languages.target, []
        self._numbered: dict[int, tuple[Pairs, Any]] = {}

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
        encoder_hidden: int = 0,
        encoder_layers: int = 0,
        bidirectional: bool = True,
        attention: str = "multiplicative",
        feeding: str = "none",
        start: str = "state",
        tied: bool = True,
        level: str = "subwords",
        joint: bool = True,
        vocabulary: int = 8000,
        least: int = 1,
        lower: bool = False,
        embedding_dropout: float = 0.0,
        memory_dropout: float = 0.0,
        head_dropout: float = 0.0,
        token_dropout: float = 0.0,
        label_smoothing: float = 0.0,
        sampling: float = 0.0,
        beams: int = 5,
        power: float = 1.0,
        most: float = 2.0,
        measure: str = "bleu",
        **options: Any,
    ) -> "Translate":
        """A new network for `dataset`, its first weights decided by `seed`.

        Args:
            dataset: gives both vocabularies, from the training part.
            cell: name, `FILE.py:Class`, class or object, of encoder and decoder.
            hidden: H of the decoder.
            layers: of the decoder.
            seed: of the first weights.
            embedding: E of both sides.
            encoder_hidden: units of each direction; 0 is half of `hidden`, or all where one way.
            encoder_layers: 0 is as many as the decoder has.
            bidirectional: whether sentences are read both ways.
            attention, feeding, start, tied, memory_dropout, head_dropout, label_smoothing,
                sampling: as for `Decoder`.
            level: "subwords", "words" or "characters".
            joint: whether both sides share one vocabulary and one embedding.
            vocabulary: V, of each side or of both; 0 for all.
            least: how often a token has to be seen.
            lower: whether letters are made small.
            embedding_dropout, token_dropout: of what is read, and the former of what is said.
            beams, power: as for `beam_search`; what `evaluate` and `predict` take.
            most: tokens that may be said for each one read, ten beside.
            measure: "bleu" or "exact": what is measured, and validation chooses by.
            options: further options of `Recurrent`, of encoder and decoder.

        Raises:
            UnrolledError: a value that it cannot have.
        """
        if dataset.train.texts is None:
            raise UsageError("the training part", expected="translations", got="none")
        sides = [dataset.train.inputs, [text for row in dataset.train.texts for text in row]]
        learning: dict[str, Any] = {"size": vocabulary or None, "lower": lower, "least": least}
        if level == "subwords":
            learning["least"] = max(least, 2)
        if joint:
            languages = Languages(learn(level, [*sides[0], *sides[1]], **learning), None)
        else:
            languages = Languages(*[learn(level, side, **learning) for side in sides])
        both = 2 if bidirectional else 1
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            encoder = Recurrent(
                cell,
                embedding,
                encoder_hidden or max(hidden // both, 1),
                encoder_layers or layers,
                bidirectional=bidirectional,
                **options,
            )
            memory = encoder.output_size
            if feeding == "between":
                if layers < 2 and "proj_size" not in options:
                    layers = 2
                recurrent = Recurrent(cell, embedding, hidden, 1, **options)
                inputs = recurrent.output_size + memory
                upper = Recurrent(cell, inputs, hidden, layers - 1, **options)
            else:
                first = Recurrent(cell, embedding, hidden, layers, **options)
                fed = (embedding if tied else first.output_size) if feeding == "input" else 0
                recurrent = Recurrent(cell, embedding + fed, hidden, layers, **options)
                upper = None
            network = {
                "embedding": embedding,
                "attention": attention,
                "feeding": feeding,
                "start": start,
                "tied": tied,
                "embedding_dropout": embedding_dropout,
                "memory_dropout": memory_dropout,
                "head_dropout": head_dropout,
                "label_smoothing": label_smoothing,
                "sampling": sampling,
                "token_dropout": token_dropout,
            }
            translator = _assembled(encoder, recurrent, upper, languages, network)
        search = {"beams": beams, "power": power, "most": most, "measure": measure}
        return cls(translator, languages, search)

    def config(self) -> dict[str, Any]:
        """What rebuilds the task without its weights, as plain JSON."""
        model, upper = self.model, self.model.decoder.upper
        read = model.embedding
        return {
            "name": self.name,
            "network": {
                **model.decoder.config(),
                "token_dropout": 0.0 if read is None else read.token_dropout,
            },
            "search": self.search,
            "tokenizer": self.tokenizer.to_json(),
            "recurrent": model.decoder.recurrent.config(),
            "upper": None if upper is None else upper.config(),
            "encoder": model.encoder.config(),
        }

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], labels: Sequence[str], *, backend: str = "auto"
    ) -> "Translate":
        """The task that `config` describes, its weights yet to be loaded.

        Raises:
            UnrolledError: a field is missing, unknown or has a value it cannot have.
        """
        with_fields({"name": cls.name, **config}, {"name", *_FIELDS}, "the task's configuration")
        with_fields(config["network"], _NETWORK, "the network")
        if not isinstance(config["search"], Mapping):
            raise ModelError("search", expected="an object", got=type(config["search"]).__name__)
        languages = Languages.from_json(config["tokenizer"])
        layers = [
            None if config[name] is None else Recurrent.from_config(config[name], backend=backend)
            for name in ("encoder", "recurrent", "upper")
        ]
        if layers[0] is None or layers[1] is None:
            raise ModelError("the encoder and the layers", expected="both", got="none")
        translator = _assembled(layers[0], layers[1], layers[2], languages, config["network"])
        return cls(translator, languages, config["search"])

    def describe(self) -> str:
        """The network in one line."""
        encoder, decoder = self.model.encoder, self.model.decoder
        layer, above = decoder.recurrent, decoder.upper
        return tr(
            "{encoder_layers} x {cell} {encoder_hidden} reads {read} {level}, {layers} x {cell} "
            "{hidden} says {said}, attention {attention}, feeding {feeding} (backend {backend})",
            encoder_layers=encoder.num_layers * encoder.directions,
            cell=layer.cell.name,
            encoder_hidden=encoder.hidden_size,
            read=len(self.tokenizer.source),
            level=tr(self.tokenizer.source.level),
            layers=layer.num_layers + (above.num_layers if above is not None else 0),
            hidden=layer.hidden_size,
            said=decoder.vocabulary,
            attention=tr("none" if decoder.attention is None else decoder.attention.kind),
            feeding=tr(decoder.feeding),
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
    ) -> Iterator[Lines]:
        """Yield a split in batches of sentences of like lengths, as a pure function of seed, epoch.

        Raises:
            UsageError: the size cannot be, or an augmentation is asked for.
        """
        checked_request(size, augment, "'none' for sentences")
        sources, targets = self._numbers(split)
        lengths = np.array([len(row) for row in sources], np.float64)
        if targets is not None:
            # what is said decides first, since a step of the decoder costs more
            lengths = np.array([len(row) for row in targets], np.float64) + lengths / 1000
        for index in alike(lengths, size, seed=seed, epoch=epoch, spread=2)[start:]:
            read = [sources[i] for i in index]
            yield Lines(
                padded(read),
                torch.tensor([len(row) for row in read]),
                None if targets is None else padded([targets[i] for i in index]),
                torch.from_numpy(np.asarray(index, np.int64)),
                None if split.texts is None else [split.texts[i] for i in index],
            )

    def _numbers(self, split: Pairs) -> tuple[list[list[int]], list[list[int]] | None]:
        """A split in token numbers, made once: what is read, and the first text of each."""
        if id(split) not in self._numbered:
            if len(self._numbered) > 3:
                self._numbered.clear()
            # the end is read too, so that no sentence is empty
            source, target = self.tokenizer.source, self.tokenizer.target
            read = [source.encode(text, eos=True) for text in split.inputs]
            said = None
            if split.texts is not None:
                said = [target.encode(texts[0], eos=True) for texts in split.texts]
            self._numbered[id(split)] = split, (read, said)
        return self._numbered[id(split)][1]

    @staticmethod
    def count(split: Pairs, size: int) -> int:
        """How many batches that are."""
        return -(-len(split) // size)

    def move(self, batch: Lines, device: torch.device) -> Lines:
        """The batch on `device`; lengths stay on the CPU."""
        targets = None if batch.targets is None else batch.targets.to(device)
        return batch._replace(inputs=batch.inputs.to(device), targets=targets)

    def given(self, inputs: Sequence[str]) -> Pairs:
        """Texts as a split.

        Raises:
            UsageError: one is empty, or no text.
        """
        for text in inputs:
            if not isinstance(text, str) or not text.strip():
                raise UsageError("a text", expected="some words", got=repr(text)[:60])
        return Pairs([text.strip() for text in inputs])

    def part(self, batch: Lines, rows: Tensor) -> Lines:
        """Some sentences of a batch."""
        return Lines(
            batch.inputs[rows],
            batch.lengths[rows],
            None if batch.targets is None else batch.targets[rows],
            batch.index[rows],
            None if batch.texts is None else [batch.texts[k] for k in rows.tolist()],
        )

    @property
    def reader(self) -> Recurrent:
        """The encoder."""
        return self.model.encoder

    @property
    def joiner(self) -> str:
        """A blank between words, nothing between smaller pieces."""
        return " " if self.tokenizer.source.level == "words" else ""

    def steps(self, split: Pairs, batch: Lines) -> tuple[Tensor, Tensor, list[list[str]]]:
        """Tokens of the sentences."""
        return batch.inputs, batch.lengths, [list(self.read(text)) for text in split.inputs]

    def remember(self, batch: Lines) -> Memory:
        """The memory of each sentence."""
        return self.model.encode(batch.inputs, batch.lengths)

    def taught(self, batch: Lines, memory: Memory) -> Memory:
        """The same: a sentence has one translation to learn from."""
        return memory

    def limits(self, batch: Lines) -> list[int]:
        """So many tokens for each that was read, and ten beside."""
        return [10 + int(self.search["most"] * n) for n in batch.lengths.tolist()]

    def read(self, value: str) -> tuple[str, ...]:
        """The tokens of a sentence."""
        source = self.tokenizer.source
        numbers = source.encode(value, eos=True)
        tokens = list(written(source, numbers))
        heard(source, source.split(source.normalise(value)), numbers, tokens)
        return tuple(tokens)

    def calibrate(self, parts: Iterable[Lines]) -> None:
        """Nothing is calibrated: the probabilities are those of the model."""

    def measured(self, said: list[str], texts: list[list[str]]) -> dict[str, Any]:
        """What `agreement` measures."""
        return agreement(said, texts, self.search["measure"])

    def summary(self, metrics: Mapping[str, Any]) -> str:
        """The figure that matters, in words."""
        if self.search["measure"] == "exact":
            return tr("{share} % said exactly", share=f"{100 * metrics['exact']:.2f}")
        return tr(
            "BLEU {bleu}, chrF {chrf}, perplexity {perplexity}",
            bleu=f"{metrics.get('bleu', 0.0):.2f}",
            chrf=f"{metrics.get('chrf', 0.0):.2f}",
            perplexity=f"{metrics['perplexity']:.2f}",
        )

    def predict(self, texts: Sequence[str], **search: Any) -> list[list[Said]]:
        """The best translations of each text, the likeliest first.

        Args:
            texts: to translate.
            search: `beams`, `best`, `power`, `taste` and `seed`, as for `tell`.

        Raises:
            UsageError: a text is empty or none, or a number cannot be.
        """
        return self.tell(self.given(texts), **search)


def _assembled(
    encoder: Recurrent,
    recurrent: Recurrent,
    upper: Recurrent | None,
    languages: Languages,
    network: Mapping[str, Any],
) -> Translator:
    inside = {name: value for name, value in network.items() if name != "token_dropout"}
    memory = encoder.output_size
    size = len(languages.target)
    decoder = Decoder(recurrent, size, memory=memory, summary=memory, upper=upper, **inside)
    return Translator(
        encoder,
        decoder,
        None if languages.joint else len(languages.source),
        embedding=network["embedding"],
        embedding_dropout=network["embedding_dropout"],
        token_dropout=network["token_dropout"],
    )
