"""Many-to-one: sequences come in; one label, several labels or values for each go out."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from unrolled.data import Batch, Dataset, Preparation, Split, TextPreparation, batches
from unrolled.errors import UsageError
from unrolled.files import with_fields
from unrolled.inspect import Trace
from unrolled.layers import Recurrent
from unrolled.messages import tr
from unrolled.tasks import measures, reading, weighing
from unrolled.tasks.measures import Guess
from unrolled.tasks.pooling import ManyToOne
from unrolled.text import Tokenizer

KINDS = ("single", "multi", "regression")


class Classify:
    """The task of giving each sequence a label, several labels, or K values.

    Args:
        recurrent: the recurrent layers.
        preparation: from raw examples to (B, T, I), or from texts to numbers (B, T).
        labels: names of the K classes or values.
        kind: "single", "multi" or "regression".
        pooling: how time is summed up: a name in `pooling.POOLINGS`.
        head_dropout: probability of dropping a feature before the head.
        label_smoothing: share of each target spread over all classes ("single" only).
        class_weights: what each class counts in the loss, (K), or None for the same.
        encoder: from numbers (B, T) of texts to the vectors that the layers read.
        freeze: epochs in which given vectors stay as they are; -1 for all.

    Raises:
        UsageError: a value that it cannot have.

    Example:
        >>> from unrolled.data import load
        >>> digits = load("digits")
        >>> task = Classify.for_dataset(digits, cell="gru", hidden=16)
        >>> task.predict(digits.train.inputs[:3]).values.shape
        (3, 10)
    """

    name = "classify"

    def __init__(
        self,
        recurrent: Recurrent,
        preparation: Preparation | TextPreparation,
        labels: Sequence[str],
        kind: str = "single",
        *,
        pooling: str = "last",
        head_dropout: float = 0.0,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
        encoder: nn.Module | None = None,
        freeze: int = 0,
    ):
        if kind not in KINDS:
            raise UsageError("kind", expected=", ".join(KINDS), got=repr(kind))
        width = reading.checked(encoder, preparation)
        if recurrent.input_size != width:
            raise UsageError(
                "the recurrent layer's input_size",
                expected=f"{width}, the features of the data",
                got=recurrent.input_size,
            )
        if not isinstance(label_smoothing, int | float) or not 0 <= label_smoothing < 1:
            raise UsageError("label_smoothing", expected="0 ≤ it < 1", got=repr(label_smoothing))
        if label_smoothing and kind != "single":
            raise UsageError("label_smoothing", expected="0 unless each example has one label")
        self.labels, self.kind, self.preparation = list(labels), kind, preparation
        self.head_dropout, self.label_smoothing = float(head_dropout), float(label_smoothing)
        self.class_weights = weighing.checked(class_weights, len(self.labels), kind)
        self.freeze = reading.checked_freeze(freeze)
        self.model = ManyToOne(recurrent, len(self.labels), pooling, head_dropout, encoder)
        if kind == "regression":
            self.model.register_buffer("center", torch.zeros(len(self.labels)))
            self.model.register_buffer("spread", torch.ones(len(self.labels)))
        else:
            self.model.register_buffer("temperature", torch.ones(()))

    @classmethod
    def for_dataset(
        cls,
        dataset: Dataset,
        *,
        cell: Any = "lstm",
        hidden: int = 128,
        layers: int = 1,
        seed: int = 0,
        pooling: str = "last",
        head_dropout: float = 0.0,
        label_smoothing: float = 0.0,
        class_weights: str | Sequence[float] = "none",
        embedding: int | str = reading.WIDTH,
        embedding_dropout: float = 0.0,
        token_dropout: float = 0.0,
        freeze: int = 0,
        **options: Any,
    ) -> "Classify":
        """A new network for `dataset`, its first weights decided by `seed`.

        Args:
            dataset: gives I, the kind, the labels and the preparation.
            cell: name, `FILE.py:Class`, class or object.
            hidden: H.
            layers: L.
            seed: of the first weights.
            pooling, head_dropout, label_smoothing: as for the class.
            class_weights: "none", "balanced" (rare classes count more), or one for each class.
            embedding: of texts: E numbers a token, "one-hot", or a file of word vectors.
            embedding_dropout, token_dropout: as for `Embedding`.
            freeze: epochs in which a file's vectors stay as they are; -1 for all, 0 for none.
            options: further options of `Recurrent`.

        Raises:
            UsageError, CellError, BackendError: a value that it cannot have.
        """
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            encoder = reading.encoder_for(
                dataset.preparation, embedding, embedding_dropout, token_dropout
            )
            width = reading.checked(encoder, dataset.preparation)
            recurrent = Recurrent(cell, width, hidden, layers, **options)
            task = cls(
                recurrent,
                dataset.preparation,
                dataset.labels,
                dataset.kind,
                pooling=pooling,
                head_dropout=head_dropout,
                label_smoothing=label_smoothing,
                class_weights=weighing.for_dataset(class_weights, dataset),
                encoder=encoder,
                freeze=freeze if encoder is not None else 0,
            )
        if task.kind == "regression":
            targets = np.asarray(dataset.train.targets, np.float64).reshape(-1, len(task.labels))
            spread = targets.std(axis=0)
            task.model.center.copy_(torch.from_numpy(targets.mean(axis=0)))
            task.model.spread.copy_(torch.from_numpy(np.where(spread > 0, spread, 1.0)))
        return task

    def config(self) -> dict[str, Any]:
        """What rebuilds the task without its weights and labels, as plain JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "pooling": self.model.pooling,
            "head_dropout": self.head_dropout,
            "label_smoothing": self.label_smoothing,
            "class_weights": self.class_weights,
            "preparation": self.preparation.to_json(),
            "encoder": reading.config_of(self.model.encoder, self.freeze),
            "freeze": self.freeze,
            "recurrent": self.model.recurrent.config(),
        }

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], labels: Sequence[str], *, backend: str = "auto"
    ) -> "Classify":
        """The task that `config` describes, its weights yet to be loaded.

        Raises:
            UnrolledError: a field is missing, unknown or has a value it cannot have.
        """
        fields = {
            "kind", "pooling", "head_dropout", "label_smoothing", "class_weights", "preparation",
            "recurrent", "encoder", "freeze",
        }  # fmt: skip
        config = {
            "encoder": None,
            "freeze": 0,
            **config,
        }  # a model of numbers needs to name neither
        found = {key: value for key, value in config.items() if key not in ("name", "tokenizer")}
        with_fields(found, fields, "the task's configuration")
        rest = {key: config[key] for key in fields - {"preparation", "recurrent", "encoder"}}
        return cls(
            Recurrent.from_config(config["recurrent"], backend=backend),
            reading.preparation_from(config["preparation"], config.get("tokenizer")),
            labels,
            encoder=reading.encoder_from(config["encoder"]),
            **rest,
        )

    def describe(self) -> str:
        """The network in one line."""
        layer = self.model.recurrent
        both = tr("bidirectional ") if layer.bidirectional else ""
        reads = reading.describe(self.model.encoder, self.preparation)
        return reads + tr(
            "{both}{layers} x {cell} {hidden}, {pooling}, linear {outputs}",
            both=both,
            layers=layer.num_layers,
            cell=layer.cell.name,
            hidden=layer.hidden_size,
            pooling=self.model.pooling,
            outputs=len(self.labels),
        )

    def batches(self, split: Split, size: int, **order: Any) -> Iterator[Batch]:
        """`data.batches` with the task's own preparation."""
        if self.freeze and "epoch" in order:
            reading.keep(self.model.encoder, self.freeze < 0 or order["epoch"] < self.freeze)
        return batches(split, self.preparation, size, **order)

    @staticmethod
    def count(split: Split, size: int) -> int:
        """How many batches that are."""
        return -(-len(split) // size)

    @staticmethod
    def move(batch: Batch, device: torch.device) -> Batch:
        """The batch with inputs and targets on `device`; lengths stay on the CPU."""
        targets = None if batch.targets is None else batch.targets.to(device, non_blocking=True)
        return batch._replace(inputs=batch.inputs.to(device, non_blocking=True), targets=targets)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean loss of a batch that is on the model's device, and nothing else to log."""
        logits = self.model(batch.inputs, batch.lengths).float()
        targets = batch.targets
        if targets is None:
            raise UsageError("the loss", expected="a batch with targets", got="none")
        if self.kind == "regression":
            wanted = (targets.reshape(logits.shape) - self.model.center) / self.model.spread
            return functional.mse_loss(logits, wanted), {}
        weights = None
        if self.class_weights is not None:
            weights = torch.tensor(self.class_weights, device=logits.device)
        if self.kind == "multi":
            return functional.binary_cross_entropy_with_logits(
                logits, targets, pos_weight=weights
            ), {}
        return functional.cross_entropy(
            logits, targets, weight=weights, label_smoothing=self.label_smoothing
        ), {}

    def peek(self, batch: Batch, count: int) -> Callable[[], Tensor]:
        """The loss of the first `count` sequences of a batch, when it is called."""
        first: list[Any] = [None if value is None else value[:count] for value in batch]
        return lambda: self.loss(Batch(*first))[0]

    def evaluate(self, parts: Iterable[Batch]) -> dict[str, Any]:
        """Figures over all batches, as `measures` has them for this kind."""
        outputs, targets = self._outputs(parts)
        if self.kind == "regression":
            targets = targets.reshape(outputs.shape)
        return getattr(measures, self.kind)(outputs, targets, self.labels)

    def calibrate(self, parts: Iterable[Batch]) -> None:
        """Learn the temperature of the probabilities from batches that were not trained on."""
        if self.kind == "regression":
            return
        self.model.temperature.fill_(1.0)
        logits, targets = self._outputs(parts)
        self.model.temperature.fill_(measures.best_temperature(logits, targets, self.kind))

    def score(self, metrics: Mapping[str, Any]) -> list[float]:
        """What a larger value of, in order, makes a better epoch."""
        if self.kind == "regression":
            return [-metrics["rmse"]]
        first = "accuracy" if self.kind == "single" else "micro_f1"
        return [metrics[first], -metrics["loss"]]

    def summary(self, metrics: Mapping[str, Any]) -> str:
        """The figure that matters, in words."""
        if self.kind == "regression":
            return tr(
                "RMSE {rmse}, R² {r2}", rmse=f"{metrics['rmse']:.4g}", r2=f"{metrics['r2']:.4f}"
            )
        if self.kind == "multi":
            return tr("micro F1 {share} %", share=f"{100 * metrics['micro_f1']:.2f}")
        return tr("accuracy {share} %", share=f"{100 * metrics['accuracy']:.2f}")

    @property
    def reads_texts(self) -> bool:
        """Whether texts come in, not numbers."""
        return isinstance(self.preparation, TextPreparation)

    @property
    def tokenizer(self) -> Tokenizer | None:
        """What a model of texts reads by: the model directory keeps it in a file of its own."""
        return self.preparation.tokenizer if self.reads_texts else None  # type: ignore[union-attr]  # it is one

    def predict(self, inputs: np.ndarray | Sequence[np.ndarray] | Sequence[str]) -> Guess:
        """What the model says of raw examples (of the shape it was trained on), or of texts.

        Raises:
            DataError, ShapeError: they are not what it was trained on.
        """
        outputs, _ = self._outputs(
            self.batches(Split(reading.as_inputs(inputs, self.preparation)), 256)
        )
        if self.kind == "regression":
            values = outputs.numpy()
            return Guess(values, values, values.tolist())
        if self.kind == "multi":
            values = torch.sigmoid(outputs.double()).numpy()
            index = values > 0.5
            return Guess(values, index, [_chosen(self.labels, row) for row in index])
        values = torch.softmax(outputs.double(), dim=1).numpy()
        index = outputs.argmax(dim=1).numpy()
        return Guess(values, index, [self.labels[k] for k in index])

    def inspect(self, inputs: Any, **options: Any) -> Trace:
        """What happened inside for raw examples: see `unrolled.tasks.looking.look`."""
        from unrolled.tasks.looking import look

        return look(self, inputs, **options)

    def predict_proba(
        self, inputs: np.ndarray | Sequence[np.ndarray] | Sequence[str]
    ) -> np.ndarray:
        """Calibrated probabilities (N, K) of raw examples.

        Raises:
            UsageError: the task is regression, which has none.
        """
        if self.kind == "regression":
            raise UsageError("probabilities", expected="a classifier", got="regression")
        return self.predict(inputs).values

    @torch.no_grad()
    def _outputs(self, parts: Iterable[Batch]) -> tuple[Tensor, Tensor]:
        """Calibrated logits (N, K), or values in the user's units, and targets, on the CPU."""
        device = next(self.model.parameters()).device
        training = self.model.training
        self.model.eval()
        outputs, targets, places = [torch.zeros(0, len(self.labels))], [], []
        for batch in parts:
            batch = self.move(batch, device)
            outputs.append(self.model(batch.inputs, batch.lengths).float().cpu())
            places.append(batch.index)
            if batch.targets is not None:
                targets.append(batch.targets.cpu())
        self.model.train(training)
        together = torch.cat(outputs)
        if self.kind == "regression":
            together = together * self.model.spread.cpu() + self.model.center.cpu()
        else:
            together = together / self.model.temperature.cpu()
        answers = torch.cat(targets) if targets else torch.zeros(0)
        if not places:
            return together, answers
        # Texts come sorted by length; what goes out stands as it was given.
        order = torch.argsort(torch.cat(places))
        return together[order], answers[order] if targets else answers


def _chosen(labels: Sequence[str], row: np.ndarray) -> list[str]:
    return [label for label, there in zip(labels, row, strict=True) if there]
