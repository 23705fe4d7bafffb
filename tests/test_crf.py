"""The chain field is exact: sums, derivatives and maxima against all K^T sequences, written out."""

import itertools

import pytest
import torch

from unrolled.errors import ShapeError, UsageError
from unrolled.layers.crf import ChainField

LENGTHS = torch.tensor([5, 1, 3, 4])


def field_and_scores(tags=3, barred=()):
    field = ChainField(tags, barred).double()
    for parameter in field.parameters():
        torch.nn.init.normal_(parameter)
    return field, torch.randn(4, 5, tags, dtype=torch.float64, requires_grad=True)


def brute(field, scores, lengths):
    """Scores of every sequence, one example after another: {path: score}."""
    walls = field.barriers.double()
    moves, first, last = (
        field.transitions + walls[:-1, :-1], field.first + walls[-1, :-1],
        field.last + walls[:-1, -1],
    )  # fmt: skip
    for row, length in zip(scores, lengths.tolist(), strict=True):
        table = {}
        for path in itertools.product(range(field.tags), repeat=length):
            total = first[path[0]] + last[path[-1]] + sum(row[t, k] for t, k in enumerate(path))
            table[path] = total + sum(moves[a, b] for a, b in itertools.pairwise(path))
        yield table


def stacked(table):
    return torch.stack(list(table.values()))


def test_the_partition_function_is_the_sum_over_all_sequences():
    field, scores = field_and_scores()
    expected = [torch.logsumexp(stacked(t), 0) for t in brute(field, scores, LENGTHS)]
    torch.testing.assert_close(field.partition(scores, LENGTHS), torch.stack(expected))


def test_every_gradient_is_that_of_the_sum_over_all_sequences():
    field, scores = field_and_scores()
    weight = torch.randn(4, dtype=torch.float64)
    inputs = [scores, *field.parameters()]
    expected = sum(
        w * torch.logsumexp(stacked(t), 0)
        for w, t in zip(weight, brute(field, scores, LENGTHS), strict=True)
    )
    wanted = torch.autograd.grad(expected, inputs)
    got = torch.autograd.grad((field.partition(scores, LENGTHS) * weight).sum(), inputs)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_the_likelihood_of_a_sequence_and_its_gradients():
    field, scores = field_and_scores()
    tags = torch.randint(0, 3, (4, 5))
    tables = brute(field, scores, LENGTHS)
    expected = torch.stack([
        table[tuple(row[:n])] - torch.logsumexp(stacked(table), 0)
        for table, row, n in zip(tables, tags.tolist(), LENGTHS.tolist(), strict=True)
    ])  # fmt: skip
    got = field(scores, tags, LENGTHS)
    torch.testing.assert_close(got, expected)
    inputs = [scores, *field.parameters()]
    wanted = torch.autograd.grad(expected.sum(), inputs)
    for one, other in zip(torch.autograd.grad(got.sum(), inputs), wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_likelihoods_of_all_sequences_sum_to_one():
    field, scores = field_and_scores()
    paths = torch.tensor(list(itertools.product(range(3), repeat=5)))
    whole = field(scores[:1].expand(len(paths), -1, -1), paths)
    assert whole.exp().sum().item() == pytest.approx(1)


def test_marginals_are_shares_of_the_sum():
    field, scores = field_and_scores()
    got = field.marginals(scores, LENGTHS)
    for row, table, n in zip(got, brute(field, scores, LENGTHS), LENGTHS.tolist(), strict=True):
        share = torch.softmax(stacked(table), 0)
        wanted = torch.zeros(5, 3, dtype=torch.float64)
        for path, p in zip(table, share, strict=True):
            for t, k in enumerate(path):
                wanted[t, k] += p.item()
        torch.testing.assert_close(row, wanted)
        assert not row[n:].any()


@pytest.mark.parametrize("barred", [(), [(0, 1), (2, 2), (3, 2), (1, 3)]])
def test_the_best_sequence_is_the_best_of_all(barred):
    field, scores = field_and_scores(barred=barred)
    paths, totals = field.best(scores, LENGTHS)
    tables = brute(field, scores, LENGTHS)
    for path, total, table, n in zip(paths.tolist(), totals, tables, LENGTHS.tolist(), strict=True):
        best = max(table, key=table.get)
        assert tuple(path[:n]) == best
        assert path[n:] == [0] * (5 - n)
        torch.testing.assert_close(total, table[best].detach())


def test_what_is_barred_has_no_probability():
    field, scores = field_and_scores(barred=[(0, 1), (3, 2)])
    tags = torch.tensor([[0, 1, 0, 0, 0], [2, 0, 0, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]])
    likely = field(scores, tags, LENGTHS)
    assert (likely[:2] < -5000).all()
    assert (likely[2:] > -100).all()
    assert torch.isfinite(torch.cat([g.flatten() for g in torch.autograd.grad(
        field.partition(scores, LENGTHS).sum(), [scores, *field.parameters()])])).all()  # fmt: skip


def test_padding_changes_nothing():
    field, scores = field_and_scores()
    whole = field.partition(scores, LENGTHS)
    for k, n in enumerate(LENGTHS.tolist()):
        alone = scores[k : k + 1, :n]
        torch.testing.assert_close(field.partition(alone)[0], whole[k], rtol=0, atol=1e-12)
        assert field.best(alone)[0][0].tolist() == field.best(scores, LENGTHS)[0][k, :n].tolist()
    junk = scores.detach().clone()
    junk[1, 1:] = float("nan")
    junk.requires_grad_()
    torch.testing.assert_close(field.partition(junk, LENGTHS), whole)


def test_large_scores_do_not_overflow():
    field = ChainField(4)
    scores = 300 * torch.randn(2, 50, 4)
    value = field.partition(scores)
    torch.testing.assert_close(
        value.double(), field.double().partition(scores.double()), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("barred", [(), [(0, 1), (0, 2), (2, 0), (1, 2), (3, 1), (3, 0)]])
def test_scores_far_apart_are_summed_in_log_space(barred):
    field, scores = field_and_scores(barred=barred)
    scores = (scores.detach() * 2000).requires_grad_()
    inputs = [scores, *field.parameters()]
    expected = torch.stack([torch.logsumexp(stacked(t), 0) for t in brute(field, scores, LENGTHS)])
    got = field.partition(scores, LENGTHS)
    torch.testing.assert_close(got, expected)
    wanted = torch.autograd.grad(expected.sum(), inputs)
    for one, other in zip(torch.autograd.grad(got.sum(), inputs), wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_what_does_not_fit_is_refused():
    with pytest.raises(UsageError, match="tags"):
        ChainField(0)
    with pytest.raises(UsageError, match="barred"):
        ChainField(2, [(0, 3)])
    field = ChainField(2)
    for scores in (torch.zeros(2, 2), torch.zeros(1, 3, 4), torch.zeros(1, 0, 2)):
        with pytest.raises(ShapeError, match="scores of tags"):
            field.partition(scores)
    with pytest.raises(ShapeError, match="tags"):
        field(torch.zeros(2, 3, 2), torch.zeros(2, 2, dtype=torch.long))
    for lengths in ([4, 1], [3, 0]):
        with pytest.raises(ShapeError, match="lengths"):
            field.partition(torch.zeros(2, 3, 2), torch.tensor(lengths))
