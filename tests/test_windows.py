"""Windows of a text: each token once, rows that go on, the same order again from any place."""

import numpy as np
import pytest
import torch

from unrolled.data import windows
from unrolled.data.windows import IGNORED, LEAST, WARM
from unrolled.errors import UsageError

IDS = np.arange(1000)


def rows(parts):
    """Inputs and targets of all windows, row by row."""
    parts = list(parts)
    return torch.cat([w.inputs for w in parts], 1), torch.cat([w.targets for w in parts], 1)


@pytest.mark.parametrize(("size", "window"), [(1, 7), (3, 10), (8, 125), (8, 1000)])
def test_each_row_goes_on_where_it_was(size, window):
    inputs, targets = rows(windows.training(IDS, size, window, seed=5, epoch=2))
    assert inputs.shape == (size, 1000 // size)
    assert (targets == (inputs + 1) % 1000).all()
    assert ((inputs[:, 1:] - inputs[:, :-1]) % 1000 == 1).all()
    assert len(set(inputs.flatten().tolist())) == inputs.numel()


@pytest.mark.parametrize(("size", "window"), [(1, 7), (3, 10), (8, 125), (7, 1000)])
def test_as_many_windows_as_are_counted_and_only_the_first_is_fresh(size, window):
    parts = list(windows.training(IDS, size, window, seed=0))
    assert len(parts) == windows.count(1000, size, window)
    assert [bool(w.fresh.all()) for w in parts] == [True] + [False] * (len(parts) - 1)
    assert not any(w.fresh.any() for w in parts[1:])


def test_a_pass_is_a_function_of_seed_and_epoch_and_can_be_entered_anywhere():
    whole = list(windows.training(IDS, 4, 30, seed=1, epoch=3))
    again = list(windows.training(IDS, 4, 30, seed=1, epoch=3, start=5))
    assert len(again) == len(whole) - 5
    for one, other in zip(whole[5:], again, strict=True):
        assert torch.equal(one.inputs, other.inputs)
        assert torch.equal(one.fresh, other.fresh)
    first = [next(windows.training(IDS, 4, 30, seed=1, epoch=e)).inputs[0, 0] for e in range(9)]
    assert len({int(token) for token in first}) > 5


@pytest.mark.parametrize("count", [2, 100, LEAST, 3 * LEAST + 17])
@pytest.mark.parametrize("window", [100, 513])
def test_an_evaluation_counts_each_token_but_the_first_once(count, window):
    ids = np.arange(count)
    seen = []
    for part in windows.evaluation(ids, 8, window):
        counted = part.targets != IGNORED
        assert (part.targets[counted] == part.inputs[counted] + 1).all()
        assert part.targets[counted].tolist() == part.index.tolist()
        seen += part.targets[counted].tolist()
    assert sorted(seen) == list(range(1, count))


def test_streams_of_an_evaluation_have_read_what_stands_before_them():
    ids = np.arange(3 * LEAST)
    warm = [w for w in windows.evaluation(ids, 8, 128) if not len(w.index)]
    inputs = torch.cat([w.inputs for w in warm], 1)
    assert inputs.shape[1] == WARM
    begins = next(w for w in windows.evaluation(ids, 8, 128) if len(w.index))
    assert begins.fresh.tolist() == [True] + [False] * (len(begins.fresh) - 1)
    assert (inputs[1:, -1] + 1 == begins.inputs[1:, 0]).all()


def test_a_text_shorter_than_its_streams_is_named():
    with pytest.raises(UsageError, match="batch=8 streams of a text: expected at most 5"):
        windows.training(np.arange(5), 8, 10)


def test_a_mapped_file_is_read_like_an_array(tmp_path):
    (tmp_path / "ids.bin").write_bytes(IDS.astype(np.uint16).tobytes())
    mapped = np.memmap(tmp_path / "ids.bin", np.uint16, mode="r")
    one, other = (rows(windows.training(ids, 3, 50, seed=4)) for ids in (IDS, mapped))
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])
