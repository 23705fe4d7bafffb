"""Splits, preparations and batches: who is where, what the network reads, in which order."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data import Preparation, Split, batches, from_arrays, load
from unrolled.data.batch import shifted
from unrolled.data.splitting import held_out


def signals(count=60, channels=2, seed=0):
    random = np.random.RandomState(seed)
    return [random.normal(3, 2, (1 + i % 5, channels)) for i in range(count)]


class TestSplits:
    """Who trains, who validates, who tests."""

    def test_the_parts_share_nobody_and_miss_nobody(self):
        x = np.arange(200, dtype=float)[:, None]
        data = from_arrays(x, np.arange(200) % 4, valid=0.2, test=30)
        parts = [set(part.inputs.ravel()) for part in (data.train, data.valid, data.test)]
        assert [len(part) for part in parts] == [130, 40, 30]
        assert set.union(*parts) == set(range(200))

    def test_a_seed_gives_its_split_again_and_another_seed_another(self):
        one, same, other = (load("digits", seed=seed) for seed in (5, 5, 6))
        assert np.array_equal(one.train.inputs, same.train.inputs)
        assert np.array_equal(one.test.inputs, same.test.inputs)
        assert not np.array_equal(one.train.inputs, other.train.inputs)

    def test_the_test_part_does_not_depend_on_the_size_of_the_valid_part(self):
        assert np.array_equal(load("digits", valid=0).test.inputs, load("digits").test.inputs)

    @given(st.lists(st.integers(1, 30), min_size=2, max_size=6), st.data())
    def test_classes_keep_their_shares(self, counts, data):
        targets = np.repeat(np.arange(len(counts)), counts)
        most = len(targets) - len(counts)
        many = data.draw(st.integers(0, most))
        _, out = held_out(
            Split(np.zeros((len(targets), 1)), targets), many, "seed", 0, stratify=True
        )
        taken = np.bincount(targets[out], minlength=len(counts))
        assert taken.sum() == many
        assert np.all(taken < np.array(counts))

    @given(st.lists(st.integers(0, 5), min_size=10, max_size=80), st.integers(1, 9))
    def test_no_group_is_in_two_parts(self, groups, many):
        if len(set(groups)) < 2:
            groups[0] = 9
        split = Split(np.zeros((len(groups), 1)), groups=np.array(groups))
        kept, out = held_out(split, many, "group", 1, stratify=False)
        assert len(kept)
        assert len(out)
        assert not set(split.groups[kept]) & set(split.groups[out])
        assert len(kept) + len(out) == len(groups)

    def test_groups_hold_out_about_what_was_asked(self):
        groups = np.repeat(np.arange(20), 10)
        data = from_arrays(np.zeros((200, 2)), np.arange(200) % 2, groups=groups, valid=0.25)
        assert len(data.valid) == 50
        assert data.provenance["rule"] == "by group"

    def test_by_time_the_past_trains_and_the_future_tests(self):
        times = np.random.RandomState(0).permutation(100)
        data = from_arrays(
            np.zeros((100, 2)), np.arange(100) % 2, times=times, by="time", valid=10, test=20
        )
        assert data.train.times.max() < data.valid.times.min()
        assert data.valid.times.max() < data.test.times.min()
        assert (len(data.train), len(data.valid), len(data.test)) == (70, 10, 20)

    def test_few_examples_still_leave_one_for_each_part(self):
        data = from_arrays(np.zeros((4, 2)), [0, 1, 0, 1], test=1)
        assert (len(data.train), len(data.valid), len(data.test)) == (2, 1, 1)


class TestPreparation:
    """From raw examples to (B, T, I)."""

    image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)

    @pytest.mark.parametrize(
        ("read", "expected"),
        [
            ("rows", [[0, 1, 2], [3, 4, 5]]),
            ("columns", [[0, 3], [1, 4], [2, 5]]),
            ("pixels", [[0], [1], [2], [3], [4], [5]]),
        ],
    )
    def test_an_image_is_read_in_each_order(self, read, expected):
        prepare = Preparation("image", (2, 3), read=read)
        x, lengths = prepare(self.image)
        assert x.tolist() == [expected]
        assert lengths is None
        assert (prepare.steps, prepare.features) == np.shape(expected)

    def test_a_permutation_is_fixed_by_its_seed_forever(self):
        x, _ = Preparation("image", (2, 3), read="permuted", seed=0)(self.image)
        # Written down, so that a model of today reads the same order in ten years.
        assert x.ravel().tolist() == [5, 2, 1, 3, 0, 4]
        other, _ = Preparation("image", (2, 3), read="permuted", seed=1)(self.image)
        assert other.ravel().tolist() != x.ravel().tolist()
        assert sorted(other.ravel()) == [0, 1, 2, 3, 4, 5]

    def test_colours_stay_together(self):
        image = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
        rows, _ = Preparation("image", (2, 2, 3))(image)
        assert rows.tolist() == [[[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]]
        columns, _ = Preparation("image", (2, 2, 3), read="columns")(image)
        assert columns.tolist() == [[[0, 1, 2, 6, 7, 8], [3, 4, 5, 9, 10, 11]]]
        pixels, _ = Preparation("image", (2, 2, 3), read="pixels")(image)
        assert pixels.tolist() == [[[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]]

    def test_scaling_is_learnt_on_the_training_part_alone(self):
        data = from_arrays(signals(), np.arange(60) % 2, valid=20)
        steps = np.concatenate(data.train.inputs)
        assert np.allclose(data.preparation.offset, steps.mean(axis=0))
        assert np.allclose(data.preparation.divisor, steps.std(axis=0))
        moved = [one + 1000 for one in data.valid.inputs]
        assert data.preparation(moved)[0].max() > 100

    def test_unit_scaling_goes_from_0_to_1_channel_by_channel(self):
        data = from_arrays(signals(), np.arange(60) % 2, valid=0, scale="unit")
        steps = np.concatenate([data.preparation([one])[0][0] for one in data.train.inputs])
        assert np.allclose(steps.min(axis=0), 0, atol=1e-6)
        assert np.allclose(steps.max(axis=0), 1)

    def test_standard_pixels_have_mean_0_and_deviation_1(self):
        for shape in ((50, 6, 6), (50, 6, 6, 3)):
            pixels = np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)
            data = from_arrays(pixels, np.arange(50) % 2, valid=0, scale="standard", read="pixels")
            x, _ = data.preparation(data.train.inputs)
            assert np.allclose(x.mean(axis=(0, 1)), 0, atol=1e-5)
            assert np.allclose(x.std(axis=(0, 1)), 1, atol=1e-5)

    def test_a_channel_that_never_changes_becomes_0(self):
        x = np.full((6, 4, 1), 7.0)
        data = from_arrays(x, [0, 1] * 3, valid=0)
        assert not data.preparation(data.train.inputs)[0].any()

    def test_series_are_padded_behind_with_their_lengths(self):
        prepare = Preparation("series", (None, 2))
        x, lengths = prepare([np.ones((2, 2)), np.ones((3, 2)), np.ones((1, 2))])
        assert lengths.tolist() == [2, 3, 1]
        assert lengths.dtype == np.int64
        assert x[:, :, 0].tolist() == [[1, 1, 0], [1, 1, 1], [1, 0, 0]]

    def test_a_missing_value_becomes_0_and_is_marked(self):
        x = np.array([[[1.0, 10], [np.nan, 30]], [[3, np.nan], [5, 50]]])
        data = from_arrays(x, [0, 1], valid=0, missing="mask")
        assert data.preparation.features == 4
        assert data.preparation.offset == (3.0, 30.0)
        prepared, _ = data.preparation(x)
        gone = np.isnan(x)
        assert np.array_equal(prepared[..., 2:], gone)
        assert not prepared[..., :2][gone].any()
        assert np.isfinite(prepared).all()

    def test_it_travels_as_json_to_the_last_bit(self):
        for data in (
            load("digits", read="permuted", seed=3, scale="standard"),
            from_arrays(signals(), np.arange(60) % 2, missing="mask"),
        ):
            said = json.loads(json.dumps(data.preparation.to_json()))
            again = Preparation.from_json(said)
            assert again == data.preparation
            x, y = data.preparation(data.train.inputs)[0], again(data.train.inputs)[0]
            assert x.tobytes() == y.tobytes()

    def test_that_of_a_model_is_used_instead_of_a_new_one(self):
        old = load("digits", read="columns", scale="standard", seed=1).preparation
        assert load("digits", preparation=old).preparation is old


class TestBatches:
    """What is read when."""

    def test_in_order_without_a_seed(self):
        digits = load("digits")
        read = list(batches(digits.valid, digits.preparation, 50))
        assert [len(batch.index) for batch in read] == [50, 50, 50, 30]
        assert torch.equal(torch.cat([batch.index for batch in read]), torch.arange(180))
        assert read[0].inputs.dtype == torch.float32
        assert read[0].targets.dtype == read[0].index.dtype == torch.int64
        assert read[0].lengths is None

    def test_an_order_is_a_function_of_seed_and_epoch(self):
        digits = load("digits")

        def order(**options):
            read = batches(digits.train, digits.preparation, 100, **options)
            return torch.cat([batch.index for batch in read]).tolist()

        assert order(seed=1, epoch=2) == order(seed=1, epoch=2)
        assert order(seed=1, epoch=2) != order(seed=1, epoch=3)
        assert order(seed=1, epoch=2) != order(seed=2, epoch=1)
        assert sorted(order(seed=1)) == list(range(1258))

    @pytest.mark.parametrize("augment", [None, "shift2"])
    def test_whoever_starts_at_a_step_gets_the_same_bits(self, augment):
        digits = load("digits")

        def read(start):
            return list(
                batches(digits.train, digits.preparation, 64, seed=4, start=start, augment=augment)
            )

        for whole, resumed in zip(read(0)[7:], read(7), strict=True):
            assert whole.inputs.numpy().tobytes() == resumed.inputs.numpy().tobytes()
            assert torch.equal(whole.targets, resumed.targets)

    def test_examples_stand_beside_their_own_targets(self):
        x = np.arange(40, dtype=float)[:, None]
        data = from_arrays(x, np.arange(40) % 4, valid=0, scale="none")
        for batch in batches(data.train, data.preparation, 7, seed=0):
            assert torch.equal(batch.inputs[:, 0, 0] % 4, batch.targets.float())

    def test_series_bring_their_lengths(self):
        data = from_arrays(signals(), np.arange(60) % 2, valid=0)
        for batch in batches(data.train, data.preparation, 16, seed=0):
            longest = int(batch.lengths.max())
            assert batch.inputs.shape[1] == longest
            assert batch.lengths.device.type == "cpu"

    def test_nothing_comes_out_of_an_empty_split(self):
        digits = load("digits", valid=0)
        assert list(batches(digits.valid, digits.preparation, 10, seed=0)) == []

    def test_without_answers_there_are_no_targets(self):
        digits = load("digits")
        batch = next(batches(Split(digits.train.inputs[:3]), digits.preparation, 10))
        assert batch.targets is None


class TestShifts:
    """Images moved by up to two pixels."""

    @pytest.mark.parametrize("colours", [(), (3,)])
    def test_each_image_is_moved_as_a_whole(self, colours):
        random = np.random.RandomState(0)
        images = random.randint(1, 256, (200, 5, 6, *colours)).astype(np.uint8)
        moved = shifted(images, 2, np.random.RandomState(1))
        assert moved.shape == images.shape
        seen = set()
        for before, after in zip(images, moved, strict=True):
            framed = np.pad(before, [(2, 2), (2, 2)] + [(0, 0)] * len(colours))
            fits = [
                (y, x)
                for y in range(5)
                for x in range(5)
                if np.array_equal(framed[y : y + 5, x : x + 6], after)
            ]
            assert len(fits) == 1
            seen.add(fits[0])
        assert len(seen) == 25

    def test_what_is_uncovered_gets_the_background(self):
        white = np.full((30, 8, 8), 255, np.uint8)
        white[:, 3:5, 3:5] = 0
        data = from_arrays(white, np.arange(30) % 2, valid=0)
        assert data.preparation.background == 255
        batch = next(batches(data.train, data.preparation, 30, seed=0, augment="shift2"))
        assert torch.all((batch.inputs == 0).sum(dim=(1, 2)) == 4)

    def test_each_epoch_moves_them_differently(self):
        digits = load("digits")

        def first(epoch):
            read = batches(
                Split(digits.train.inputs[:1].repeat(50, axis=0)),
                digits.preparation,
                50,
                seed=0,
                epoch=epoch,
                augment="shift2",
            )
            return next(read).inputs

        assert not torch.equal(first(0), first(1))
        assert torch.equal(first(1), first(1))
