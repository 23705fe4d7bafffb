"""A trained translator comes in; sentences a second go out, beside plain PyTorch with its weights.

    python benchmarks/translate.py runs/multi30k --data DIR

Two rivals in the same run: a loop as tutorials write it (nn.LSTM reads one sentence, nn.LSTMCell
says it, K rows at a time), and the same batched search over nn.LSTMCell. Translations are compared
first: a rival that says something else is not timed.
"""

import argparse
import json
import time

import torch
from torch import nn

from unrolled import tasks
from unrolled.checkpoint import read
from unrolled.data.pairs import Pairs
from unrolled.data.parallel import load_parallel
from unrolled.tasks.decoder import Saying
from unrolled.tasks.search import Hypothesis, beam_search
from unrolled.text import BOS, EOS


class Plain:
    """The encoder as nn.LSTM and the decoder as nn.LSTMCell, with the weights of ours."""

    def __init__(self, task):
        model, layer = task.model, task.model.decoder.recurrent
        names = (layer.cell.name, layer.num_layers, model.encoder.num_layers, model.decoder.feeding)
        if names != ("lstm", 1, 1, "none"):
            raise SystemExit(f"this rival is an LSTM of one layer without feeding, not {names}")
        self.task = task
        self.encoder = nn.LSTM(
            model.encoder.input_size,
            model.encoder.hidden_size,
            batch_first=True,
            bidirectional=True,
        ).eval()
        self.encoder.load_state_dict(model.encoder.state_dict())
        self.cell = nn.LSTMCell(layer.input_size, layer.hidden_size).eval()
        weights = {name.removesuffix("_l0"): v for name, v in layer.state_dict().items()}
        self.cell.load_state_dict(weights)

    @torch.no_grad()
    def one(self, text: str, beams: int) -> Hypothesis:
        """The best translation of one sentence, as a tutorial would search for it."""
        task, decoder = self.task, self.task.model.decoder
        read = task.tokenizer.source.encode(text, eos=True)
        embedding = decoder.embedding if task.model.embedding is None else task.model.embedding
        memory, _ = self.encoder(embedding(torch.tensor([read])))
        keys = decoder.attention.of_memory(memory)
        opened = torch.tanh(decoder.opening[0](memory.mean(1)))
        h, c = opened.split(decoder.recurrent.hidden_size, 1)
        alive = [(0.0, [BOS])]
        done: list[Hypothesis] = []
        limit = 10 + int(task.search["most"] * len(read))
        for step in range(limit + 1):
            tokens = torch.tensor([row[-1] for _, row in alive])
            h, c = self.cell(decoder.embedding(tokens), (h, c))
            scores = (h @ keys[0].T) * decoder.attention.scale
            looked = torch.softmax(scores, 1) @ memory[0]
            output = torch.tanh(decoder.combine(torch.cat([h, looked], 1)))
            chances = torch.log_softmax(decoder.head(output), 1)
            chances[:, list(Saying.unsayable)] = float("-inf")
            if step == limit:
                ends = chances[:, EOS].clone()
                chances[:] = float("-inf")
                chances[:, EOS] = ends
            total = torch.tensor([score for score, _ in alive])[:, None] + chances
            values, places = total.flatten().topk(2 * beams)
            fresh, rows = [], []
            for rank, (value, place) in enumerate(
                zip(values.tolist(), places.tolist(), strict=True)
            ):
                row, token = divmod(place, total.shape[1])
                if token == EOS and rank < beams and value > float("-inf"):
                    score = value / (step + 1) ** task.search["power"]
                    done.append(Hypothesis(tuple(alive[row][1][1:]), value, score))
                elif token != EOS and len(fresh) < beams:
                    fresh.append((value, [*alive[row][1], token]))
                    rows.append(row)
            ranked = sorted((one.score for one in done), reverse=True)
            best = fresh[0][0] / (step + 1) ** task.search["power"]
            if fresh[0][0] == float("-inf"):
                break
            if len(ranked) >= beams and best <= ranked[beams - 1]:
                break
            alive, h, c = fresh, h[rows], c[rows]
        return max(done, key=lambda one: one.score)


class PlainSaying(Saying):
    """Our search over nn.LSTMCell in place of the bound stream."""

    def __init__(self, plain: Plain, memory, rows: int):
        self.plain = plain
        super().__init__(plain.task.model.decoder, memory, rows)

    def _bind(self, states):
        self.state = (states[0]["h"][0], states[0]["c"][0])

    @torch.no_grad()
    def __call__(self, tokens):
        decoder = self.decoder
        self.state = self.plain.cell(decoder.embedding(tokens), self.state)
        h = self.state[0]
        found, _ = decoder.look(h.view(-1, self.rows, h.shape[-1]), self.memory, self.keys)
        return decoder.head(decoder.said(h, found.flatten(0, 1)))

    def pick(self, rows, sequences=None):
        self.state = tuple(part[rows] for part in self.state)
        if sequences is not None:
            self.memory, self.keys = self.memory.take(sequences), self.keys[sequences]


def ours(task, split: Pairs, beams: int, plain: Plain | None = None) -> list[tuple[int, ...]]:
    """What is said of each sentence, searched in batches; by the rival's cell where it is given."""
    found: list[tuple[int, ...]] = [()] * len(split)
    streams: dict = {}
    with torch.no_grad():
        for batch in task.batches(split, max(320 // beams, 1)):
            memory = task.remember(batch)
            saying = Saying(task.model.decoder, memory, beams, streams)
            if plain is not None:
                saying = PlainSaying(plain, memory, beams)
            said = beam_search(saying, task.limits(batch), beams=beams, power=task.search["power"])
            for at, row in zip(batch.index.tolist(), said, strict=True):
                found[at] = row[0].tokens
    return found


def main() -> None:
    """Compare, time in turn, print ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--data", default=None)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--beams", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    task = tasks.load(given.model)
    stored = read(given.model).config["run"]["recipe"]
    data = load_parallel(
        stored["source"], data_dir=given.data or stored["data_dir"], **stored["options"]["data"]
    )
    split = data.test.take(range(min(given.count, len(data.test))))
    plain = Plain(task)
    ways = {
        "unrolled": lambda: ours(task, split, given.beams),
        "a loop, one sentence at a time": lambda: [
            plain.one(text, given.beams).tokens for text in split.inputs
        ],
        "the same search over nn.LSTMCell": lambda: ours(task, split, given.beams, plain),
    }
    said = {name: way() for name, way in ways.items()}
    for name, rows in said.items():
        same = sum(a == b for a, b in zip(rows, said["unrolled"], strict=True))
        # sums in another order may turn a tie; more than that is another model
        if same < 0.99 * len(split):
            raise SystemExit(f"{name} says the same of {same} of {len(split)} sentences: not timed")
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(given.rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - start)
    best = {name: min(found) for name, found in times.items()}
    tokens = sum(len(row) + 1 for row in said["unrolled"])
    for name, seconds in best.items():
        row = {
            "way": name,
            "sentences a second": round(len(split) / seconds, 1),
            "tokens a second": round(tokens / seconds),
            "ours to it": round(best["unrolled"] / seconds, 2),
        }
        print(json.dumps(row))


if __name__ == "__main__":
    main()
