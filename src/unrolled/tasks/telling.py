"""A task that says things and raw inputs come in; what the inspector looks at goes out.

What is looked at is a pass over what was said, each token read as if it had been known before.
"""

from typing import Any

import torch
from torch import Tensor

from unrolled.errors import UsageError
from unrolled.inspect.spoken import Parts, Spoken
from unrolled.messages import tr
from unrolled.tasks.decoder import shifted
from unrolled.tasks.views import View
from unrolled.tasks.wording import padded, written
from unrolled.text import EOS, PAD


def view(task: Any, inputs: Any, target: str | None, at: int | None) -> View:
    """What the inspector looks at in a task that says things: its best answer, or `target`.

    Raises:
        UsageError: there is no such token.
        DataError: the inputs are not what the network was trained on.
    """
    decoder = task.model.decoder
    split = task.given(inputs)
    batch = next(task.batches(split, len(split)))
    batch = task.part(batch, torch.argsort(batch.index))  # sentences come sorted by length
    every = torch.arange(len(split))
    with torch.no_grad():
        found = task._search(batch, task.remember(batch), {}, beams=task.search["beams"])
    own = [row[0].tokens for row in found]
    rows = [[*tokens, EOS] for tokens in own]
    if target is not None:
        rows = [task.words.encode(target, eos=True)] * len(split)
    targets, sizes = padded(rows), torch.tensor([len(row) for row in rows])
    if at is not None and not 1 <= at <= int(sizes.min()):
        raise UsageError("at", expected=f"a token from 1 to {int(sizes.min())}", got=at)

    def forced(chosen: Tensor) -> tuple[Tensor, Tensor | None]:
        """Log probabilities (N, T) of what is said, and where was looked (N, T, S)."""
        part, wanted = task.part(batch, chosen), targets[chosen]
        if part.inputs.is_floating_point():
            part = part._replace(inputs=part.inputs.to(decoder.head.weight.dtype))
        memory = task.remember(part)
        output, looked = decoder(shifted(wanted), memory, sizes[chosen])
        return decoder.log_probs(output).gather(2, wanted[..., None])[..., 0], looked

    def score(out: Tensor, chosen: Tensor) -> Tensor:
        if at is not None:
            return out[:, at - 1]
        return (out * (targets[chosen] != PAD)).sum(1)

    pieces = [list(written(task.words, row)) for row in rows]
    read = task.steps(split, batch)
    reader = task.reader
    with torch.no_grad():
        sure, looked = forced(every)
    said = []
    for b, words in enumerate(pieces):
        names = list(task.read(split.inputs[b]))
        parts = Parts(
            [tr("image")] if read is None else read[2][b],
            words,
            tr(task.model.kind) if reader is None else reader.cell.name,
            decoder.recurrent.cell.name,
            both=reader is not None and reader.bidirectional,
            recurrent=reader is not None,
            looks=decoder.attention is not None,
            start=decoder.start,
            fed=decoder.feeding == "input",
        )
        where = None if looked is None else looked[b, : len(words), : len(names)].numpy()
        said.append(Spoken(words, sure[b, : len(words)].exp().tolist(), names, where, parts))
    if at is not None:
        about = tr("the log probability of token {at}", at=at)
    elif target is not None:
        about = tr("the log probability of {text}", text=repr(target))
    else:
        about = tr("the log probability of its own answer")
    x, lengths, tokens = (shifted(targets), sizes, pieces) if read is None else read
    answers = [task.words.decode(row) for row in own]
    return View(x, lengths, lambda chosen: forced(chosen)[0], score, about, tokens,
                lambda _: answers, joiner=task.joiner, said=said, only=None)  # fmt: skip
