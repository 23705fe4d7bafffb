"""Aligned many-to-many on text: sentences come in, a tag for each word goes out.

BiLSTM (or any cell) over words and their characters, with or without a chain field on top (Lample
and others 2016, arXiv:1603.01360).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from unrolled.data.batch import alike, checked_request
from unrolled.data.sentences import Tagged
from unrolled.data.tagged import TaggedDataset
from unrolled.errors import ModelError, UsageError
from unrolled.files import with_fields
from unrolled.inspect import Trace
from unrolled.layers import Recurrent
from unrolled.messages import tr
from unrolled.tasks import spans
from unrolled.tasks.measures import Guess
from unrolled.tasks.spelling import Reader
from unrolled.tasks.tagger import Tagger, Words, config_of
from unrolled.tasks.tally import Tally
from unrolled.text import Characters, read_vectors
from unrolled.text import Words as Vocabulary

_NETWORK: dict[str, Any] = {
    "embedding": int,
    "character_width": int,
    "character_hidden": int,
    "case_width": int,
    "crf": bool,
    "barred": list,
    "word_dropout": (int, float),
    "input_dropout": (int, float),
    "head_dropout": (int, float),
    "beside": list,
    "also_weight": (int, float),
}


class Tag:
    """The task of giving each word of a sentence a tag.

    Args:
        tagger: the network.
        reader: from words to numbers.
        labels: the K tags; of spans, those that the network learns.
        beside: tags of another kind that it learns beside them, to read better; none are said.
        also_weight: of their loss.

    Example:
        >>> from unrolled.data.sentences import Tagged
        >>> part = Tagged([["dogs", "run"], ["cats", "sleep"]] * 5, [["NOUN", "VERB"]] * 10)
        >>> task = Tag.for_dataset(TaggedDataset("pets", part, part), hidden=8)
        >>> [len(tags) for tags in task.predict([["dogs", "sleep", "!"], ["cats"]]).names]
        [3, 1]
    """

    name = "tag"
    reads_texts = True
    kind = "tags"
    usage = ('model.predict([["He", "runs", "."]]).names',)

    def __init__(
        self,
        tagger: Tagger,
        reader: Reader,
        labels: Sequence[str],
        beside: Sequence[str] = (),
        also_weight: float = 0.5,
    ):
        if not isinstance(also_weight, int | float) or not 0 < also_weight <= 100:
            raise UsageError("also_weight", expected="a number from 0 to 100", got=also_weight)
        self.model, self.reader, self.labels = tagger, reader, list(labels)
        self.tokenizer = reader  # what the model directory keeps of it
        self.numbers = {label: k for k, label in enumerate(self.labels)}
        self.also_weight = float(also_weight)
        self.beside = {tag: k for k, tag in enumerate(beside)}
        self.strange: dict[str, int] = {}  # tags of other parts that the model does not know
        self.spans = spans.are_spans(self.labels)
        self.bioes = any(spans.marks(label)[0] in ("E", "S") for label in self.labels)

    @classmethod
    def for_dataset(
        cls,
        dataset: TaggedDataset,
        *,
        cell: Any = "lstm",
        hidden: int = 128,
        layers: int = 1,
        seed: int = 0,
        embedding: int | str = 100,
        character_width: int = 30,
        character_hidden: int = 50,
        case_width: int = 0,
        jamo: bool = False,
        lower: bool = True,
        least: int = 1,
        crf: bool = True,
        scheme: str = "bioes",
        word_dropout: float = 0.1,
        input_dropout: float = 0.3,
        head_dropout: float = 0.3,
        also_weight: float = 0.5,
        **options: Any,
    ) -> "Tag":
        """A new network for `dataset`, its first weights decided by `seed`.

        Args:
            dataset: gives words, characters and tags, from the training part.
            cell: name, `FILE.py:Class`, class or object.
            hidden: H of each direction.
            layers: L.
            seed: of the first weights.
            embedding: numbers a word, 0 for none; or a file of word vectors (or a model directory
                of them) to start from, all of whose words are then known.
            character_width: numbers a character; 0 reads no characters.
            character_hidden: units of each direction over a word's characters.
            case_width: numbers for a word's case (small, First, CAPITALS, digits); 0 for none.
            jamo: whether Hangul is read letter by letter.
            lower: whether words, not characters, are made small.
            least: how often a word has to be seen to be known.
            crf: whether whole sequences of tags are scored.
            scheme: "bioes" or "bio": how spans are marked inside; "as given" leaves tags alone.
            word_dropout: probability that a word is read as unknown in training.
            input_dropout, head_dropout: of a word's input, and before the head.
            also_weight: of the loss of tags that are learnt beside, where the dataset has them.
            options: further options of `Recurrent`; it reads both ways unless told otherwise.

        Raises:
            UnrolledError: a value that it cannot have.
        """
        if scheme not in ("bioes", "bio", "as given"):
            raise UsageError("scheme", expected="bioes, bio or 'as given'", got=repr(scheme))
        sentences, tags = dataset.train.words, dataset.train.tags
        if not sentences or tags is None:
            raise UsageError("the training part", expected="tagged sentences", got="none")
        if spans.are_spans({tag for row in tags for tag in row}) and scheme != "as given":
            tags = [spans.rewritten(row, scheme) for row in tags]
        labels = sorted({tag for row in tags for tag in row})
        barred = spans.barred(labels, tags) if crf else []
        often = Counter(_each(dataset.train.also or []))
        beside = sorted(tag for tag, count in often.items() if count > 1)
        vectors = None if isinstance(embedding, int) else read_vectors(embedding)
        words = Vocabulary.learn(
            _each(sentences), least=least, lower=lower, form="NFC", split_at="blanks"
        )
        if vectors is not None:
            known = [w for w in vectors.words if w not in words.numbers and w not in words.tokens]
            tokens = [*words.tokens, *(w for w in known if w and not w.isspace())]
            words = Vocabulary(tokens, lower=lower, split_at="blanks")
        letters = Characters.learn(_each(sentences), jamo=jamo)
        width = vectors.size if vectors is not None else int(embedding)
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            inputs = Tagger.width_of(width, character_width, character_hidden, case_width)
            options = {"bidirectional": True, **options}
            tagger = Tagger(
                Recurrent(cell, inputs, hidden, layers, **options),
                len(words),
                len(letters),
                len(labels),
                embedding=width,
                character_width=character_width,
                character_hidden=character_hidden,
                case_width=case_width,
                crf=crf,
                barred=barred,
                word_dropout=word_dropout,
                input_dropout=input_dropout,
                head_dropout=head_dropout,
                beside=len(beside),
            )
            if vectors is not None and tagger.words is not None:
                rows, found = vectors.rows(words.tokens)
                found[:4] = False
                tagger.words.load(torch.from_numpy(rows), torch.from_numpy(found))
        return cls(tagger, Reader(words, letters), labels, beside, also_weight)

    def config(self) -> dict[str, Any]:
        """What rebuilds the task without its weights and labels, as plain JSON."""
        model = self.model
        return {
            "name": self.name,
            "network": {
                "embedding": model.words.width if model.words is not None else 0,
                "character_width": model.spelling.embedding.width if model.spelling else 0,
                "character_hidden": model.spelling.width // 2 if model.spelling else 0,
                "case_width": model.cases.width if model.cases is not None else 0,
                "crf": model.chain is not None,
                "barred": [list(pair) for pair in model.chain.barred] if model.chain else [],
                "word_dropout": model.word_dropout,
                "input_dropout": model.input_dropout.p,
                "head_dropout": model.head_dropout.p,
                "beside": list(self.beside),
                "also_weight": self.also_weight,
            },
            "tokenizer": self.reader.to_json(),
            "recurrent": model.recurrent.config(),
        }

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], labels: Sequence[str], *, backend: str = "auto"
    ) -> "Tag":
        """The task that `config` describes, its weights yet to be loaded.

        Raises:
            UnrolledError: a field is missing, unknown or has a value it cannot have.
        """
        fields = {"name", "network", "tokenizer", "recurrent"}
        with_fields({"name": cls.name, **config}, fields, "the task's configuration")
        network = config["network"]
        if isinstance(network, dict):  # directories from before tags were learnt beside
            network = {"beside": [], "also_weight": 0.5, **network}
        network = dict(config_of(network, _NETWORK))
        reader = Reader.from_json(config["tokenizer"])
        recurrent = Recurrent.from_config(config["recurrent"], backend=backend)
        inputs = Tagger.width_of(
            network["embedding"],
            network["character_width"],
            network["character_hidden"],
            network["case_width"],
        )
        if recurrent.input_size != inputs:
            raise ModelError(
                "the recurrent layer's input_size", expected=inputs, got=recurrent.input_size
            )
        weight, beside = network.pop("also_weight"), network.pop("beside")
        sizes = len(reader.words), len(reader.letters), len(labels)
        tagger = Tagger(recurrent, *sizes, beside=len(beside), **network)
        return cls(tagger, reader, labels, beside, weight)

    def describe(self) -> str:
        """The network in one line."""
        layer = self.model.recurrent
        both = tr("bidirectional ") if layer.bidirectional else ""
        return tr(
            "{both}{layers} x {cell} {hidden} over {words} words and {letters} characters, "
            "{head} of {outputs} tags (backend {backend})",
            both=both,
            layers=layer.num_layers,
            cell=layer.cell.name,
            hidden=layer.hidden_size,
            words=len(self.reader.words) if self.model.words is not None else 0,
            letters=len(self.reader.letters) if self.model.spelling is not None else 0,
            head="CRF" if self.model.chain is not None else "softmax",
            outputs=len(self.labels),
            backend=layer.backend,
        )

    def batches(
        self,
        split: Tagged,
        size: int,
        *,
        seed: int | None = None,
        epoch: int = 0,
        start: int = 0,
        augment: str | None = None,
    ) -> Iterator[Words]:
        """Yield a split in batches of sentences of like lengths, as a pure function of seed, epoch.

        Raises:
            UsageError: the size cannot be, or an augmentation is asked for.
        """
        checked_request(size, augment, "'none' for sentences")
        lengths = np.array([len(words) for words in split.words], np.int64)
        for index in alike(lengths, size, seed=seed, epoch=epoch, spread=3)[start:]:
            others = None
            if self.beside and split.also is not None and seed is not None:
                others = [[self.beside.get(tag, -1) for tag in split.also[i]] for i in index]
            yield self.reader.read(split.take(index), index, self._targets(split, index), others)

    def _targets(self, split: Tagged, index: np.ndarray) -> list[list[int]] | None:
        if split.tags is None:
            return None
        rows = [split.tags[i] for i in index]
        if self.bioes:
            rows = [spans.rewritten(row, "bioes") for row in rows]
        return [[self._number(tag) for tag in row] for row in rows]

    def _number(self, tag: str) -> int:
        """The tag's number; one that the model does not know gets one below -1, which is padding.

        It keeps its name: of a span whose tag was never learnt, type and ends still count.
        """
        number = self.numbers.get(tag)
        return -2 - self.strange.setdefault(tag, len(self.strange)) if number is None else number

    def _tag(self, number: int) -> str:
        return self.labels[number] if number >= 0 else list(self.strange)[-2 - number]

    @staticmethod
    def count(split: Tagged, size: int) -> int:
        """How many batches that are."""
        return -(-len(split) // size)

    @staticmethod
    def move(batch: Words, device: torch.device) -> Words:
        """The batch on `device`; lengths and sizes stay on the CPU."""
        here = ("lengths", "sizes", "index")
        moved = {
            name: value.to(device, non_blocking=True)
            for name, value in batch._asdict().items()
            if name not in here and value is not None
        }
        return batch._replace(**moved)

    def loss(self, batch: Words) -> tuple[Tensor, dict[str, Tensor]]:
        """Negative log-likelihood a word of the batch, and nothing else to log.

        Raises:
            UsageError: the batch has no tags.
        """
        if batch.targets is None:
            raise UsageError("the loss", expected="a batch with tags", got="none")
        read = self.model.read(batch)
        total, count = self._losses(self.model.head(read).float(), batch)
        if batch.others is not None and self.model.beside is not None:
            total = total + self.also_weight * functional.cross_entropy(
                self.model.beside(read).float().flatten(0, 1),
                batch.others.flatten(),
                ignore_index=-1,
                reduction="sum",
            )
        return total / max(count, 1), {}

    def peek(self, batch: Words, count: int) -> Callable[[], Tensor]:
        """The loss of the first `count` sentences of a batch, when it is called."""
        rows = {
            name: value[:count]
            for name in ("inputs", "lengths", "targets", "index", "cases", "places", "others")
            if (value := getattr(batch, name)) is not None
        }
        return lambda: self.loss(batch._replace(**rows))[0]

    def inspect(self, sentences: Sequence[Sequence[str]], **options: Any) -> Trace:
        """What happened inside while sentences were read: see `unrolled.tasks.looking.look`."""
        from unrolled.tasks.looking import look

        return look(self, sentences, **options)

    def _losses(self, scores: Tensor, batch: Words) -> tuple[Tensor, int]:
        """The sum over words whose tag is known, and how many they are."""
        targets = batch.targets
        assert targets is not None  # whoever calls has looked
        if self.model.chain is None:
            flat = functional.cross_entropy(
                scores.flatten(0, 1),
                targets.flatten().clamp_min(-1),
                ignore_index=-1,
                reduction="sum",
            )
            return flat, int((targets >= 0).sum())
        steps = torch.arange(targets.shape[1], device=targets.device)
        lengths = batch.lengths
        size = torch.full((len(targets),), targets.shape[1]) if lengths is None else lengths
        valid = steps < size.to(targets.device)[:, None]
        # a sentence with a tag that the model does not know has no likelihood
        fits = ((targets >= 0) | ~valid).all(dim=1)
        likely = self.model.chain(scores, targets.clamp_min(0), lengths)
        return -(likely * fits).sum(), int((valid & fits[:, None]).sum())

    @torch.no_grad()
    def evaluate(self, parts: Iterable[Words]) -> dict[str, Any]:
        """Accuracy and loss a word, of spans F1 too; tags that the model does not know are missed.

        Returns:
            `accuracy`, `loss`, `unknown` (words whose true tag the model does not know),
            `per_class`, `confusion` (K, K); for spans `precision`, `recall`, `f1` of the CoNLL
            rule, and `per_class` by kind of span.
        """
        device = next(self.model.parameters()).device
        training = self.model.training
        self.model.eval()
        total, count = 0.0, 0
        tally = Tally(self.labels, self._tag if self.spans else None)
        for batch in parts:
            batch = self.move(batch, device)
            if batch.targets is None:
                continue
            scores = self.model(batch).float()
            loss, many = self._losses(scores, batch)
            total, count = total + loss.item(), count + many
            for truth, guess in zip(
                _cut(batch.targets, batch.lengths), self._best(scores, batch), strict=True
            ):
                tally.add(truth, guess)
        self.model.train(training)
        return {"loss": total / max(count, 1), **tally.figures()}

    def calibrate(self, parts: Iterable[Words]) -> None:
        """Nothing is calibrated: the probabilities are those of the model."""

    def score(self, metrics: Mapping[str, Any]) -> list[float]:
        """What a larger value of, in order, makes a better epoch."""
        return [metrics["f1"] if self.spans else metrics["accuracy"], -metrics["loss"]]

    def summary(self, metrics: Mapping[str, Any]) -> str:
        """The figure that matters, in words."""
        share = f"{100 * metrics['accuracy']:.2f}"
        if not self.spans:
            return tr("accuracy {share} %", share=share)
        return tr("F1 {f1} %, accuracy {share} %", f1=f"{100 * metrics['f1']:.2f}", share=share)

    @torch.no_grad()
    def predict(self, sentences: Sequence[Sequence[str]]) -> Guess:
        """Tags of sentences, each a list of words.

        Returns:
            For each sentence: `names` of its tags, `index` of them, and `values`, P(tag) of each.

        Raises:
            UsageError: a sentence has no word, or is no list of texts.
        """
        for words in sentences:
            fine = not isinstance(words, str) and all(isinstance(w, str) and w for w in words)
            if not fine or not len(words):
                raise UsageError("a sentence", expected="a list of words", got=repr(words)[:60])
        device = next(self.model.parameters()).device
        training = self.model.training
        self.model.eval()
        split = Tagged([list(words) for words in sentences])
        found: list[Any] = [None] * len(split)
        for batch in self.batches(split, 64):
            batch = self.move(batch, device)
            scores = self.model(batch).float()
            if self.model.chain is None:
                sure = torch.softmax(scores, dim=2)
            else:
                sure = self.model.chain.marginals(scores, batch.lengths)
            for at, path, row in zip(
                batch.index.tolist(), self._best(scores, batch), sure.cpu().numpy(), strict=True
            ):
                found[at] = path, row[np.arange(len(path)), path]
        self.model.train(training)
        names = [[self.labels[k] for k in path] for path, _ in found]
        if self.bioes:
            names = [spans.rewritten(row, "bio") for row in names]
        values, index = [row for _, row in found], [path for path, _ in found]
        return Guess(values, index, names)  # type: ignore[arg-type]  # sentences differ in length

    def _best(self, scores: Tensor, batch: Words) -> list[np.ndarray]:
        if self.model.chain is None:
            return _cut(scores.argmax(dim=2), batch.lengths)
        return _cut(self.model.chain.best(scores, batch.lengths)[0], batch.lengths)


def _cut(rows: Tensor, lengths: Tensor | None) -> list[np.ndarray]:
    whole = rows.cpu().numpy()
    if lengths is None:
        return list(whole)
    return [row[:n] for row, n in zip(whole, lengths.tolist(), strict=True)]


def _each(sentences: Sequence[Sequence[str]]) -> Iterator[str]:
    for words in sentences:
        yield from words
