"""Searching: what a beam finds is what trying every sequence finds, alone or beside others."""

import itertools
import math

import pytest
import torch

from unrolled.errors import UsageError
from unrolled.tasks.sampling import Taste
from unrolled.tasks.search import beam_search, checked, sample_search
from unrolled.text import BOS, EOS

SIZE = 7  # the four special tokens and three more


class Chain:
    """Logits that depend on the sentence and on the last two tokens: a process to search."""

    unsayable = (0, 1, BOS)

    def __init__(self, tables, rows):
        self.tables, self.rows = tables, rows
        self.before = torch.full((len(tables) * rows,), BOS)

    def __call__(self, tokens):
        tables = self.tables.repeat_interleave(self.rows, 0)
        found = tables[torch.arange(len(tokens)), self.before, tokens].clone()
        self.before = tokens.clone()
        return found

    def pick(self, rows, sequences=None):
        self.before = self.before[rows]
        if sequences is not None:
            self.tables = self.tables[sequences]


def tables(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(count, SIZE, SIZE, SIZE, generator=generator)


def log_prob(table, tokens):
    """Of a whole sequence and its end, by the chain rule."""
    total, before, last = 0.0, BOS, BOS
    for token in [*tokens, EOS]:
        total += torch.log_softmax(table[before, last], 0)[token].item()
        before, last = last, token
    return total


def every(table, limit, power):
    """All sequences of up to `limit` tokens, the best first."""
    found = []
    for length in range(limit + 1):
        for tokens in itertools.product((4, 5, 6), repeat=length):
            value = log_prob(table, tokens)
            found.append((value / (length + 1) ** power, tokens, value))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("power", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_finds_what_trying_everything_finds(seed, power):
    some, limit = tables(3, seed), 4
    wide = 3**4
    found = beam_search(
        Chain(some, wide), [limit] * 3, beams=wide, best=5, power=power, thorough=True
    )
    for table, hypotheses in zip(some, found, strict=True):
        wanted = every(table, limit, power)[:5]
        assert [one.tokens for one in hypotheses] == [tokens for _, tokens, _ in wanted]
        for one, (score, _, value) in zip(hypotheses, wanted, strict=True):
            assert math.isclose(one.score, score, abs_tol=1e-5)
            assert math.isclose(one.log_prob, value, abs_tol=1e-5)


@pytest.mark.parametrize("beams", [1, 2, 5])
@pytest.mark.parametrize("thorough", [False, True])
def test_a_batch_finds_for_each_sentence_what_it_finds_alone(beams, thorough):
    some, limits = tables(9, 11), [1, 6, 2, 9, 4, 0, 7, 12, 3]
    options = {"beams": beams, "best": beams, "thorough": thorough}
    together = beam_search(Chain(some, beams), limits, **options)
    for k, limit in enumerate(limits):
        alone = beam_search(Chain(some[k : k + 1], beams), [limit], **options)[0]
        assert [one.tokens for one in alone] == [one.tokens for one in together[k]]
        assert all(len(one.tokens) <= limit for one in alone)
        for one, other in zip(alone, together[k], strict=True):
            assert math.isclose(one.score, other.score, abs_tol=1e-5)
            assert math.isclose(one.log_prob, log_prob(some[k], one.tokens), abs_tol=1e-5)


def test_one_beam_is_the_greedy_search():
    table = tables(1, 3)
    found = beam_search(Chain(table, 1), [8], beams=1)[0][0].tokens
    before, last, said = BOS, BOS, []
    for _ in range(8):
        logits = table[0, before, last].clone()
        logits[[0, 1, BOS]] = float("-inf")
        token = int(logits.argmax())
        if token == EOS:
            break
        said.append(token)
        before, last = last, token
    assert list(found) == said


def test_a_wider_beam_is_never_worse_than_everything_and_mostly_better_than_greed():
    some = tables(40, 5)
    greedy = beam_search(Chain(some, 1), [5] * 40, beams=1, power=0.0)
    wide = beam_search(Chain(some, 8), [5] * 40, beams=8, power=0.0, thorough=True)
    best = [every(table, 5, 0.0)[0][0] for table in some]
    gains = [w[0].score - g[0].score for w, g in zip(wide, greedy, strict=True)]
    assert sum(gain > 1e-5 for gain in gains) > 5
    assert all(w[0].score <= b + 1e-5 for w, b in zip(wide, best, strict=True))


def test_draws_follow_the_probabilities_and_the_seed_of_the_sentence():
    table = tables(1, 8)
    many = sample_search(Chain(table, 1000), [0], draws=1000, taste=Taste(), seeds=[1])[0]
    assert all(one.tokens == () for one in many)
    many = sample_search(Chain(table, 1000), [1], draws=1000, taste=Taste(), seeds=[1])[0]
    logits = table[0, BOS, BOS].clone()
    logits[[0, 1, BOS]] = float("-inf")
    chances = torch.softmax(logits, 0)
    for tokens in ((), (4,), (5,), (6,)):
        wanted = chances[tokens[0] if tokens else EOS].item()
        share = sum(one.tokens == tokens for one in many) / 1000
        assert abs(share - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / 1000) + 1e-3
    pair = tables(2, 9)
    both = sample_search(Chain(pair, 3), [6, 6], draws=3, taste=Taste(), seeds=[5, 7])
    alone = sample_search(Chain(pair[1:], 3), [6], draws=3, taste=Taste(), seeds=[7])
    assert [one.tokens for one in both[1]] == [one.tokens for one in alone[0]]
    cold = sample_search(Chain(pair, 1), [6, 6], draws=1, taste=Taste(temperature=0), seeds=[1, 1])
    greedy = beam_search(Chain(pair, 1), [6, 6], beams=1)
    assert [one[0].tokens for one in cold] == [one[0].tokens for one in greedy]


@pytest.mark.parametrize(
    ("beams", "best", "power", "word"),
    [(0, 1, 1.0, "beams"), (2, 3, 1.0, "best"), (2, 2, -1, "power"), (True, 1, 1.0, "beams")],
)
def test_numbers_that_cannot_be_are_refused(beams, best, power, word):
    with pytest.raises(UsageError, match=word):
        checked(beams, best, power)
