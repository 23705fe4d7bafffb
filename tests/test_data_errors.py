"""What is wrong with named data and tables is said in one line: where, expected, got, the fix."""

import gzip
import os

import numpy as np
import pytest

from bad_data import GOOD, LONG, Cases, idx, mnist_like, pictures, written
from unrolled.data import Preparation, load, read_inputs
from unrolled.errors import DataError, UsageError

case = Cases()


@case(
    DataError, "unknown dataset", "digits, mnist, fashion-mnist", "'mnits'", "Did you mean 'mnist'?"
)
def a_name_with_a_typo(folder):
    load("mnits")


@case(DataError, "nothing.csv", "a file or folder", "nothing there")
def a_file_that_is_not_there(folder):
    load(folder / "nothing.csv")


@case(DataError, "--data", "the folder of mnist", "no such folder", "Check the path.")
def a_data_folder_that_is_not_there(folder):
    load("mnist", data_dir=folder / "none")


@case(DataError, "--data", "the 4 files of mnist", "no t10k-labels-idx1-ubyte", "data fetch mnist")
def a_data_folder_that_lacks_a_file(folder):
    load("mnist", data_dir=mnist_like(folder, t10k_labels=None))


@case(DataError, "UNROLLED_DATA=", "a folder of datasets", "no such folder", "unset UNROLLED_DATA")
def a_variable_that_points_nowhere(folder):
    os.environ["UNROLLED_DATA"] = str(folder / "none")
    load("mnist")


@case(UsageError, "digits with a folder", "expected no folder", "scikit-learn carries this data")
def a_folder_for_what_a_library_carries(folder):
    load("digits", data_dir=folder)


@case(UsageError, "data_dir=", "a dataset's name", "Leave it out")
def a_data_folder_beside_a_path(folder):
    load(written(folder, GOOD), data_dir=folder)


@case(UsageError, "label='label'", "a file of yours", "got digits", "Leave it out.")
def a_column_for_a_named_dataset(folder):
    load("digits", label="label")


@case(DataError, "data.xlsx", "a folder, or a file of .csv, .tsv", "got .xlsx", "Rename the file")
def a_kind_of_file_that_is_not_known(folder):
    load(written(folder, "x", "data.xlsx"))


@case(DataError, "train-images-idx3-ubyte", "a whole gzip file", "cut off or damaged", "again")
def a_gzip_file_that_is_cut_off(folder):
    whole = gzip.compress(idx(np.random.RandomState(0).randint(0, 255, (20, 4, 4))))
    load(mnist_like(folder, train_images=whole[:-30]))


@case(DataError, "train-images", "a whole gzip file", "cut off or damaged")
def a_gzip_file_with_a_wrong_checksum(folder):
    whole = bytearray(gzip.compress(idx(np.zeros((20, 4, 4)))))
    whole[-6] ^= 255
    load(mnist_like(folder, train_images=bytes(whole)))


@case(
    DataError, "train-images", "an idx file, whose first bytes are 00 00 08 03", "got 89 50 4e 47"
)
def a_file_with_the_wrong_magic(folder):
    load(mnist_like(folder, train_images=b"\x89PNG" + bytes(400)))


@case(DataError, "expected images (3 axes), got labels (1 axis)", "are swapped: rename them")
def image_and_label_files_swapped(folder):
    images, labels = idx(np.zeros((20, 4, 4))), idx(np.arange(20) % 10)
    load(mnist_like(folder, train_images=labels, train_labels=images))


@case(DataError, "train-images", "expected 336 bytes for 20 x 4 x 4 values", "got 236", "cut off")
def a_raw_file_that_is_cut_off(folder):
    load(mnist_like(folder, train_images=idx(np.zeros((20, 4, 4)))[:-100]))


@case(DataError, "train-images", "336 bytes as its header says", "got more")
def a_file_longer_than_it_says(folder):
    load(mnist_like(folder, train_images=idx(np.zeros((20, 4, 4))) + b"more"))


@case(DataError, "train-images", "336 bytes as its header says", "got more")
def a_gzip_bomb(folder):
    load(mnist_like(folder, train_images=gzip.compress(idx(np.zeros((20, 4, 4))) + bytes(10**7))))


@case(DataError, "as many images as labels", "20 images, 19 labels", "from the same source")
def counts_that_differ(folder):
    load(mnist_like(folder, train_labels=idx(np.arange(19) % 10)))


@case(DataError, "t10k-labels-idx1-ubyte", "an idx file", "an empty file")
def an_empty_idx_file(folder):
    assert len(load(mnist_like(folder, t10k_labels=b"")).test)


@case(DataError, "train-labels-idx1-ubyte, label 7", "expected 0 to 9, got 11")
def a_label_out_of_range(folder):
    labels = np.arange(20) % 10
    labels[7] = 11
    load("mnist", data_dir=mnist_like(folder, train_labels=idx(labels)))


@case(DataError, "is not the published file of mnist", "SHA-256 ba891046", "data fetch mnist")
def a_file_that_is_not_the_published_one(folder):
    load("mnist", data_dir=mnist_like(folder))


@case(DataError, "example 3", "one of the labels 0, 1, 2", "got '9'")
def a_class_in_the_test_part_alone(folder):
    test = idx([0, 1, 2, 9] * 5)
    assert load(mnist_like(folder, train_labels=idx(np.arange(20) % 3), t10k_labels=test)).test


@case(DataError, "cannot be read", "got Is a directory")
def a_folder_in_place_of_a_file(folder):
    mnist_like(folder, train_images=None)
    (folder / "train-images-idx3-ubyte").mkdir()
    load(folder)


@case(DataError, "data.csv", "some content", "an empty file")
def an_empty_file(folder):
    load(written(folder, ""))


@case(DataError, "data.csv", "rows of a table", "blank lines only")
def a_file_of_blank_lines(folder):
    load(written(folder, "\n\n  \n"))


@case(DataError, "data.csv", "rows below the header", "a header only", "Add examples.")
def a_header_only(folder):
    load(written(folder, "a,b,label\n"))


@case(DataError, "data.csv, line 6", "expected 4 columns, got 3", "Complete the row")
def a_ragged_row(folder):
    load(written(folder, GOOD.replace("4,1,4,x", "4,1,x")))


@case(DataError, "data.csv, line 6, column 'b'", "a number, got 'one'", "--features a,b,c")
def a_cell_that_is_no_number(folder):
    load(written(folder, GOOD.replace("4,1,4,x", "4,one,4,x")))


@case(DataError, "data.csv, line 6, column 'b'", "a decimal point, not a comma")
def a_decimal_comma(folder):
    load(written(folder, GOOD.replace(",", ";").replace("4;1;4;x", "4;1,5;4;x")))


@case(DataError, "line 6, column 'b'", "a number", "got '1_0'")
def a_number_with_an_underscore(folder):
    load(written(folder, GOOD.replace("4,1,4,x", "4,1_0,4,x")))


@case(DataError, "data.csv, line 6, column 'b'", "a missing value ('')", "--missing mask")
def a_missing_value(folder):
    load(written(folder, GOOD.replace("4,1,4,x", "4,,4,x")))


@case(DataError, "data.csv, line 6, column 'b'", "a finite number", "got 'inf'")
def an_infinite_value(folder):
    load(written(folder, GOOD.replace("4,1,4,x", "4,inf,4,x")), missing="mask")


@case(DataError, "line 6, column 'b'", "a finite number of 32 bits", "got '1e39'")
def a_value_too_large_for_float32(folder):
    load(written(folder, GOOD.replace("4,1,4,x", "4,1e39,4,x")))


@case(DataError, "b in the training part", "some values", "all are missing")
def a_channel_without_a_value(folder):
    text = "id,time,b,label\n" + "".join(f"{i // 2},{i},,{'xy'[i // 2 % 2]}\n" for i in range(20))
    load(written(folder, text), missing="mask")


@case(DataError, "data.csv, line 2", "expected text in utf-8, got the byte bd", "--encoding cp949")
def text_in_another_encoding(folder):
    load(written(folder, "a,label\n1,슬픔\n2,기쁨\n".encode("cp949")))


@case(DataError, "data.csv, line 1", "text in utf-8", "--encoding utf-16")
def text_in_utf_16(folder):
    load(written(folder, GOOD.encode("utf-16")))


@case(UsageError, "encoding", "a name such as utf-8", "got 'utf-9'")
def an_encoding_that_is_not_known(folder):
    load(written(folder, GOOD), encoding="utf-9")


@case(DataError, "data.csv, line 3", "expected text, got a zero byte", "--encoding utf-16")
def a_zero_byte(folder):
    load(written(folder, GOOD.replace("1,1,1,y", "1,\0,1,y")))


@case(DataError, "data.csv, line 21", "rows of cells", "quote that opens a cell has to close it")
def a_quote_that_never_closes(folder):
    load(written(folder, GOOD.replace("4,1,4,x", '4,"1,4,x')))


@case(DataError, "data.csv, line 1", "a different name for each column", "'a' twice")
def two_columns_of_one_name(folder):
    load(written(folder, GOOD.replace("a,b,c", "a,b,a")))


@case(DataError, "no column for label", "one of a, b, c, label", "'lable'", "mean 'label'?")
def a_column_with_a_typo(folder):
    load(written(folder, GOOD), label="lable")


@case(DataError, "which column is the answer?", "one called label", "--label COLUMN")
def no_column_of_answers(folder):
    load(written(folder, GOOD.replace("label", "outcome")))


@case(DataError, "data.csv, line 6", "an answer", "a missing one ('')", "remove the example")
def a_missing_label(folder):
    load(written(folder, GOOD.replace("4,1,4,x", "4,1,4,")))


@case(DataError, "labels", "at least 2 classes", "only 'x'", "--label NAME")
def one_class_only(folder):
    load(written(folder, GOOD.replace(",y", ",x")))


@case(DataError, "classes that several examples share", "50 different answers", "kind='regression'")
def as_many_classes_as_examples(folder):
    load(written(folder, "a,label\n" + "".join(f"{i},{i}\n" for i in range(50))))


@case(DataError, "data.csv, line 3", "a finite number to be predicted", "got 'y'", "kind='single'")
def words_for_a_regression(folder):
    load(written(folder, GOOD.replace(",x", ",1")), kind="regression")


@case(DataError, "data.csv, line 3", "one of the labels x, z", "got 'y'")
def a_label_that_the_model_does_not_know(folder):
    load(written(folder, GOOD), labels=["x", "z"])


@case(UsageError, "channels", "a divisor of the 3 values of a row", "got 2")
def rows_that_cannot_be_cut_into_moments(folder):
    load(written(folder, GOOD), channels=2)


@case(DataError, "does not fit the model", "series of 3 x 1", "series of 2 x 1")
def rows_of_another_width_than_the_model_reads(folder):
    trained = load(written(folder, GOOD)).preparation
    table = "1,2,x\n3,4,y\n" * 9
    bare = Preparation.from_json(trained.to_json() | {"columns": None})
    load(written(folder, table, "other.csv"), label=-1, preparation=bare)


@case(DataError, "no column for features", "'c'", "a, b, label")
def a_column_of_the_model_that_new_data_lacks(folder):
    trained = load(written(folder, GOOD)).preparation
    read_inputs(written(folder, "a,b,label\n1,2,x\n", "new.csv"), trained)


@case(DataError, "data.csv, line 4", "another time than in line 3, in the series 's0'", "(1)")
def a_time_stamp_twice(folder):
    load(written(folder, LONG.replace("s0,1,1,0,x\n", "s0,1,1,0,x\ns0,1,2,0,x\n")))


@case(DataError, "line 3, column 'time'", "a number or a date such as", "got 'noon'")
def a_time_that_is_none(folder):
    load(written(folder, LONG.replace("s0,1,", "s0,noon,")))


@case(DataError, "line 3, column 'label'", "'x' as in line 2, for the same series", "got 'y'")
def two_labels_in_one_series(folder):
    load(written(folder, LONG.replace("s0,1,1,0,x", "s0,1,1,0,y")))


@case(DataError, "every series is one row long", "--layout rows")
def series_of_one_moment_each(folder):
    load(
        written(folder, "id,time,a,label\n" + "".join(f"{i},1,2,{'xy'[i % 2]}\n" for i in range(9)))
    )


@case(DataError, "which column is the time?", "time or timestamp", "--time COLUMN")
def a_long_table_without_times(folder):
    load(written(folder, LONG.replace("time", "when")), layout="long")


@case(UsageError, "layout", "rows or long", "got 'wide'")
def a_layout_that_is_not_known(folder):
    load(written(folder, GOOD), layout="wide")


@pytest.mark.parametrize("name", sorted(case))
def test_it_is_said_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.setenv("UNROLLED_DATA", "")
    case.check(name, tmp_path)


def test_the_data_that_the_cases_break_is_right_before(tmp_path):
    assert len(load(written(tmp_path, GOOD)).train) == 16
    assert len(load(written(tmp_path, LONG, "long.csv")).train) == 6
    for name, make in (("idx", mnist_like), ("images", pictures)):
        (tmp_path / name).mkdir()
        assert len(load(make(tmp_path / name)).train)
