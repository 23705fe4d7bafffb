"""What a recipe may say of tasks that say something token by token, and the values without a word.

Sections of `translate`, for the table in `recipe`.
"""

from typing import Any

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
