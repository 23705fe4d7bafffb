"""What a recipe may say of each task, and the values without a word: tables alone.

Of each task one table for its network and one for what reads its data; `kinds` joins them.
"""

from dataclasses import fields
from typing import Any

from unrolled.optimise import Settings
from unrolled.tasks.word2vec_options import Options

# What every recurrent layer takes.
_LAYERS: dict[str, Any] = {
    "dropout": 0.0,
    "variational": 0.0,
    "zoneout": 0.0,
    "weight_drop": 0.0,
    "layer_norm": False,
    "learn_initial": False,
    "bias": True,
    "backend": "auto",
}
# None: the reader of data, or the task, decides.
CLASSIFYING: dict[str, Any] = {
    "cell": "lstm",
    "hidden": 128,
    "layers": 1,
    "bidirectional": False,
    "pooling": "last",
    "head_dropout": 0.0,
    "label_smoothing": 0.0,
    "class_weights": "none",
    "embedding": 128,
    "embedding_dropout": 0.0,
    "token_dropout": 0.0,
    "freeze": 0,
    **_LAYERS,
    "proj_size": 0,
}
EXAMPLES: dict[str, Any] = {
    "kind": None,
    "read": "rows",
    "valid": None,
    "test": None,
    "by": None,
    "label": None,
    "features": None,
    "group": None,
    "time": None,
    "id": None,
    "encoding": "utf-8",
    "header": None,
    "layout": None,
    "channels": 1,
    "missing": "error",
    "size": None,
    "scale": None,
    "steps": None,
    "text": None,
    "level": "words",
    "vocabulary": 0,
    "least": 1,
    "lower": True,
    "jamo": False,
    "split_at": "words",
    "limit": 0,
    "kept": "start",
}
LANGUAGE: dict[str, Any] = {
    "cell": "lstm",
    "hidden": 256,
    "layers": 2,
    "window": 128,
    "embedding": 64,
    "tied": False,
    "softmax": "full",
    "cutoffs": None,
    "embedding_dropout": 0.0,
    "input_dropout": 0.0,
    "head_dropout": 0.0,
    **_LAYERS,
    "proj_size": 0,
}
TEXT: dict[str, Any] = {
    "level": "characters",
    "split_at": "blanks",
    "vocabulary": 0,
    "valid": None,
    "valid_from": "end",
    "test": None,
    "encoding": "utf-8",
}
TAGGING: dict[str, Any] = {
    "cell": "lstm",
    "hidden": 128,
    "layers": 1,
    "bidirectional": True,
    "embedding": 100,
    "character_width": 30,
    "character_hidden": 50,
    "case_width": 0,
    "jamo": False,
    "lower": True,
    "least": 1,
    "crf": True,
    "scheme": "bioes",
    "word_dropout": 0.1,
    "input_dropout": 0.3,
    "head_dropout": 0.3,
    "also_weight": 0.5,
    **_LAYERS,
    "proj_size": 0,
}
SENTENCES: dict[str, Any] = {
    "token": None,
    "label": None,
    "also": None,
    "valid": None,
    "test": None,
    "encoding": "utf-8",
    "steps": None,
}
VECTORS: dict[str, Any] = {
    name: default
    for name, default in Options().to_json().items()
    if name not in ("epochs", "lr", "seed")
}
LINES: dict[str, Any] = {"text": None, "encoding": "utf-8"}
TRANSLATION: dict[str, Any] = {
    "cell": "lstm",
    "hidden": 256,
    "layers": 1,
    "embedding": 128,
    "encoder_hidden": 0,
    "encoder_layers": 0,
    "bidirectional": True,
    "attention": "multiplicative",
    "feeding": "none",
    "start": "state",
    "tied": True,
    "level": "subwords",
    "joint": True,
    "vocabulary": 8000,
    "least": 1,
    "lower": False,
    "embedding_dropout": 0.0,
    "memory_dropout": 0.0,
    "head_dropout": 0.0,
    "token_dropout": 0.0,
    "label_smoothing": 0.0,
    "sampling": 0.0,
    "beams": 5,
    "power": 1.0,
    "most": 2.0,
    "measure": "bleu",
    **_LAYERS,
}
PARALLEL: dict[str, Any] = {
    "pair": None,
    "other": None,
    "text": None,
    "label": None,
    "valid": None,
    "test": None,
    "encoding": "utf-8",
}
CAPTIONING: dict[str, Any] = {
    "cell": "lstm",
    "hidden": 256,
    "layers": 1,
    "embedding": 128,
    "encoder": "cnn",
    "levels": 4,
    "fine": False,
    "channels": 32,
    "memory": 256,
    "encoder_dropout": 0.0,
    "attention": "multiplicative",
    "feeding": "none",
    "start": "state",
    "tied": True,
    "level": "words",
    "vocabulary": 0,
    "least": 1,
    "lower": True,
    "embedding_dropout": 0.0,
    "memory_dropout": 0.0,
    "head_dropout": 0.0,
    "label_smoothing": 0.0,
    "sampling": 0.0,
    "beams": 5,
    "power": 1.0,
    "most": 40,
    "crop": 0,
    "flip": False,
    "elastic": 0.0,
    "measure": "bleu4",
    **_LAYERS,
}
PICTURES: dict[str, Any] = {
    "captions": None,
    "language": "en",
    "size": None,
    "valid": None,
    "test": None,
    "encoding": "utf-8",
}
TRAINING: dict[str, Any] = {field.name: field.default for field in fields(Settings)}
PASSES: dict[str, Any] = {name: getattr(Options(), name) for name in ("epochs", "lr", "seed")}
