"""What is wrong with images, arrays and options is said in one line: expected, got, the fix."""

import pickle

import numpy as np
import pytest
from PIL import Image

from bad_data import GOOD, Cases, mnist_like, pictures, written
from unrolled.data import Preparation, batches, from_arrays, load, read_inputs
from unrolled.errors import DataError, ShapeError, UsageError

case = Cases()


@case(DataError, "no images", "a folder for each class", "got none", "named by their classes")
def a_folder_without_images(folder):
    load(folder)


@case(DataError, "no images", "images without such folders", "named by their classes")
def images_without_classes(folder):
    Image.new("L", (4, 4)).save(folder / "1.png")
    load(folder)


@case(DataError, "0.png", "an image", "no image format that is known", "Replace the file")
def a_file_that_is_no_image(folder):
    pictures(folder)
    written(folder / "a", "no pixels", "0.png")
    load(folder)


@case(DataError, "0.png", "an image", "a damaged one", "Replace the file or remove it")
def an_image_that_is_cut_off(folder):
    pictures(folder, sizes=[(40, 40)] * 4)
    path = folder / "a" / "0.png"
    noise = np.random.RandomState(0).randint(0, 255, (40, 40)).astype(np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-400])
    load(folder)


@case(DataError, "2.png", "4 x 4 pixels (rows x columns) as 0.png has", "got 5 x 6", "--size 28x28")
def images_of_different_sizes(folder):
    load(pictures(folder, sizes=[(4, 4), (4, 4), (6, 5), (4, 4)]))


@case(DataError, "labels", "at least 2 classes", "only 'a'")
def images_of_one_class(folder):
    load(pictures(folder, classes="a"))


@case(DataError, "new.png", "8 x 8 pixels", "as the model was trained on", "got 5 x 6", "--resize")
def an_image_of_another_size_than_the_model_reads(folder):
    Image.new("L", (6, 5)).save(folder / "new.png")
    read_inputs(folder / "new.png", load("digits").preparation)


@case(DataError, "new.csv", "does not fit the model", "images of 8 x 8", "series of 3 x 1")
def a_table_for_a_model_of_images(folder):
    table = "a,b,c\n1,2,3\n4,5,6\n"
    read_inputs(written(folder, table, "new.csv"), load("digits").preparation)


@case(DataError, "x.npy", "an array of numbers", "a pickle, which could run code", "not loaded")
def an_npy_file_with_a_pickle(folder):
    np.save(folder / "x.npy", np.array([[1], [2, 3]], dtype=object), allow_pickle=True)
    load(folder / "x.npy")


@case(DataError, "x.npy", "a .npy file", "a pickle, which could run code and is not loaded")
def a_pickle_called_npy(folder):
    load(written(folder, pickle.dumps([1, 2]), "x.npy"))


@case(DataError, "x.npz: y", "an array of numbers", "Python objects in a pickle")
def an_npz_file_with_a_pickle(folder):
    np.savez(folder / "x.npz", x=np.zeros((4, 3)), y=np.array([{}, 1, 2, 3], dtype=object))
    load(folder / "x.npz")


@case(DataError, "no array of features", "one called x or inputs", "got a, b", "--features NAME")
def an_npz_file_without_the_arrays(folder):
    np.savez(folder / "x.npz", a=np.zeros((4, 3)), b=np.zeros(4))
    load(folder / "x.npz")


@case(DataError, "x.npz", "as numpy.savez writes it", "something else, or one that is cut off")
def an_npz_file_that_is_cut_off(folder):
    np.savez(folder / "x.npz", x=np.zeros((4, 3)), y=np.zeros(4))
    load(written(folder, (folder / "x.npz").read_bytes()[:-40], "x.npz"))


@case(DataError, "x.npy", "a whole array", "cut off")
def an_npy_file_that_is_cut_off(folder):
    np.save(folder / "x.npy", np.zeros((4, 3)))
    load(written(folder, (folder / "x.npy").read_bytes()[:-8], "x.npy"))


@case(DataError, "x and y", "4 values of y, one for each example", "got 3", "in the same order")
def arrays_whose_counts_differ(folder):
    from_arrays(np.zeros((4, 3)), [0, 1, 0])


@case(DataError, "example 2, step 1, channel 0", "a finite number, got NaN", "--missing mask")
def nan_in_an_array(folder):
    x = np.zeros((4, 3))
    x[2, 1] = np.nan
    from_arrays(x, [0, 1, 0, 1])


@case(DataError, "example 2, step 1, channel 0", "a finite number", "an infinite one")
def infinity_in_an_array(folder):
    x = np.zeros((4, 3))
    x[2, 1] = -np.inf
    from_arrays(x, [0, 1, 0, 1], missing="mask")


@case(DataError, "series 1", "the shape (T, I) with at least 1 step", "got (0, 2)", "Leave it out")
def a_series_without_a_step(folder):
    from_arrays([np.zeros((3, 2)), np.zeros((0, 2)), np.zeros((1, 2))], [0, 1, 0])


@case(DataError, "length of series 2", "a whole number from 1 to 3", "got 0")
def a_length_of_zero(folder):
    from_arrays(np.zeros((4, 3)), [0, 1, 0, 1], lengths=[1, 2, 0, 3])


@case(DataError, "series 1", "2 channels as series 0 has", "got 3")
def series_with_different_channels(folder):
    from_arrays([np.zeros((3, 2)), np.zeros((3, 3))], [0, 1])


@case(DataError, "real numbers", "values of type <U1")
def letters_in_an_array(folder):
    from_arrays(np.array([["a", "b"], ["c", "d"]]), [0, 1])


@case(DataError, "the shape (N, T) or (N, T, I)", "got (4,)")
def an_array_of_one_axis(folder):
    from_arrays(np.zeros(4), [0, 1, 0, 1])


@case(UsageError, "valid", "a fraction from 0 to below 1", "got 1.5", "valid=0.1")
def a_fraction_above_one(folder):
    load("digits", valid=1.5)


@case(UsageError, "valid", "a fraction from 0", "got -0.1")
def a_negative_fraction(folder):
    load("digits", valid=-0.1)


@case(UsageError, "valid", "a fraction", "got nan")
def a_fraction_that_is_nan(folder):
    load("digits", valid=float("nan"))


@case(UsageError, "valid", "fewer than the 1797 examples there are", "2000")
def more_held_out_than_there_is(folder):
    load("digits", valid=2000)


@case(UsageError, "valid and test", "fewer than the 20 examples in all", "10 and 10")
def nothing_left_to_learn_from(folder):
    load(written(folder, GOOD), valid=0.5, test=0.5)


@case(UsageError, "valid", "at least one example", "0.01 of 20, which is none")
def a_fraction_of_nothing(folder):
    load(written(folder, GOOD), valid=0.01)


@case(UsageError, "test", "this data has a test part of its own", "got 0.2")
def a_test_fraction_where_the_test_part_is_published(folder):
    load(mnist_like(folder), test=0.2)


@case(DataError, "a split by group", "a group for every example", "got none", "--group device")
def a_split_by_group_without_groups(folder):
    load(written(folder, GOOD), by="group")


@case(DataError, "a split by group", "at least 2 groups", "1 (0)")
def a_split_by_group_with_one_group(folder):
    from_arrays(np.zeros((6, 2)), [0, 1] * 3, groups=[0] * 6)


@case(DataError, "a split by time", "a time for every example", "--time date")
def a_split_by_time_without_times(folder):
    load(written(folder, GOOD), by="time")


@case(UsageError, "by", "one of seed, group, time", "got 'luck'")
def a_rule_that_is_not_known(folder):
    load("digits", by="luck")


@case(UsageError, "seed", "a whole number from 0", "got -1")
def a_negative_seed(folder):
    load("digits", seed=-1)


@case(UsageError, "read", "one of rows, columns, pixels, permuted", "got 'diagonals'")
def an_order_that_is_not_known(folder):
    load("digits", read="diagonals")


@case(UsageError, "read='columns'", "images", "series, which are read in the order of time")
def columns_of_a_series(folder):
    load(written(folder, GOOD), read="columns")


@case(UsageError, "missing='mask'", "series", "images, where no pixel can be missing")
def a_mask_for_images(folder):
    load("digits", missing="mask")


@case(UsageError, "augment", "'shift2' or 'none'", "got 'flip'")
def an_augmentation_that_is_not_known(folder):
    digits = load("digits")
    batches(digits.train, digits.preparation, 10, augment="flip")


@case(UsageError, "augment='shift2'", "images", "series")
def shifts_of_a_series(folder):
    data = load(written(folder, GOOD))
    batches(data.train, data.preparation, 10, augment="shift2")


@case(UsageError, "batches: size", "at least 1", "got 0")
def batches_of_nothing(folder):
    digits = load("digits")
    batches(digits.train, digits.preparation, 0)


@case(ShapeError, "images", "8 x 8", "4 x 4")
def images_of_another_size_in_a_batch(folder):
    load("digits").preparation(np.zeros((2, 4, 4), np.uint8))


@case(DataError, "preparation: divisor", "no zero")
def a_preparation_that_divides_by_zero(folder):
    Preparation.from_json({"form": "series", "shape": [None, 1], "divisor": [0.0]})


@case(DataError, "a preparation in JSON", "fields ['background'", "'code'")
def a_preparation_with_an_unknown_field(folder):
    Preparation.from_json({"form": "series", "shape": [None, 1], "code": "x"})


@pytest.mark.parametrize("name", sorted(case))
def test_it_is_said_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.setenv("UNROLLED_DATA", "")
    case.check(name, tmp_path)
