"""The user's own files: tables, signals, arrays and images are read for what they are."""

import gzip
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from unrolled.data import batches, from_arrays, load, read_inputs


def table(path, rows, header="a,b,c,label"):
    lines = ([header] if header else []) + [",".join(map(str, row)) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def numbers(count=20):
    return [(i, i * 0.5, -i, "xy"[i % 2]) for i in range(count)]


def everyone(data):
    parts = (data.train, data.valid, data.test)
    return np.concatenate([np.asarray(part.inputs) for part in parts])


class TestRows:
    """One example a row."""

    def test_values_labels_and_columns_are_those_of_the_file(self, tmp_path):
        data = load(table(tmp_path / "d.csv", numbers()), valid=0, test=0, scale="none")
        assert data.kind == "single"
        assert data.labels == ["x", "y"]
        assert data.preparation.columns == ("a", "b", "c")
        expected = np.array([row[:3] for row in numbers()], np.float32)
        assert np.array_equal(data.train.inputs[:, :, 0], expected)
        assert data.train.targets.tolist() == [0, 1] * 10

    @pytest.mark.parametrize("label", [0, "0", -4, "-4"])
    def test_without_a_header_columns_have_numbers(self, tmp_path, label):
        rows = [("xy"[i % 2], i, 2 * i, 3) for i in range(20)]
        data = load(table(tmp_path / "d.csv", rows, header=""), label=label, test=0, valid=0)
        assert data.labels == ["x", "y"]
        assert data.train.inputs.shape == (20, 3, 1)

    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    @pytest.mark.parametrize("ending", [".csv", ".txt", ".csv.gz"])
    def test_separators_and_gzip_are_found_out(self, tmp_path, delimiter, ending):
        text = table(tmp_path / "plain", numbers()).read_text().replace(",", delimiter).encode()
        path = tmp_path / f"d{ending}"
        path.write_bytes(gzip.compress(text) if ending.endswith("gz") else text)
        assert load(path).train.inputs.shape == (16, 3, 1)

    def test_columns_that_are_numbers_and_called_so_are_a_header_beside_a_label(self, tmp_path):
        path = table(tmp_path / "d.csv", [(i % 2, i, i) for i in range(20)], "label,0,1")
        data = load(path, valid=0, test=0)
        assert len(data.train) == 20
        assert data.preparation.columns == ("0", "1")

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16"])
    def test_an_encoding_can_be_said(self, tmp_path, encoding):
        path = tmp_path / "d.csv"
        text = "값,label\n" + "".join(f"{i},{'기쁨' if i % 2 else '슬픔'}\n" for i in range(20))
        path.write_bytes(text.encode(encoding))
        data = load(path, encoding="utf-8" if encoding == "utf-8-sig" else encoding)
        assert data.labels == ["기쁨", "슬픔"]
        assert data.preparation.columns == ("값",)

    def test_quoted_cells_blank_lines_and_windows_line_ends_are_read(self, tmp_path):
        path = tmp_path / "d.csv"
        quoted = b'a,label\r\n\r\n1,"x, or so"\r\n2,"he said ""y"""\r\n'
        path.write_bytes(quoted + b"3,z\r\n" * 4)
        data = load(path, valid=0, test=0)
        assert data.labels == ['he said "y"', "x, or so", "z"]

    def test_columns_have_roles(self, tmp_path):
        rows = [(f"n{i}", f"2026-01-{1 + i:02}", f"d{i % 5}", i, "xy"[i % 2]) for i in range(20)]
        path = table(tmp_path / "d.csv", rows, "name,day,device,v,label")
        data = load(path, group="device", time="day", id="name", layout="rows")
        assert data.provenance["rule"] == "by group"
        parts = [set(part.groups) for part in (data.train, data.valid, data.test)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 5
        assert data.train.ids[0].startswith("n")
        late = load(path, time="day", by="time", features="v", valid=0, test=5)
        assert late.train.times.max() < late.test.times.min()

    def test_channels_cut_a_row_into_moments(self, tmp_path):
        rows = [(i, i + 1, i + 2, i + 3, "xy"[i % 2]) for i in range(20)]
        path = table(tmp_path / "d.csv", rows, "a0,b0,a1,b1,label")
        data = load(path, channels=2, valid=0, test=0, scale="none")
        assert data.train.inputs[0].tolist() == [[0, 1], [2, 3]]
        assert data.preparation.features == 2

    def test_missing_cells_are_masked_in_every_spelling(self, tmp_path):
        cells = ["", "NA", "nan", "NULL", "?", "None"]
        rows = [(cell, 1, "xy"[i % 2]) for i, cell in enumerate(cells)] + [(5, 1, "x")]
        path = table(tmp_path / "d.csv", rows, "a,b,label")
        data = load(path, missing="mask", valid=0, test=0)
        assert np.isnan(data.train.inputs[:, 0, 0]).sum() == 6
        assert data.preparation.features == 2

    def test_a_wide_table_is_read_without_a_second_copy_as_text(self, tmp_path):
        path = tmp_path / "wide.csv"
        line = ",".join(["1.25"] * 784)
        path.write_text("".join(f"{i % 2},{line}\n" for i in range(500)))
        tracemalloc.start()
        data = load(path, label=0, header=False, valid=0, test=0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert data.train.inputs.shape == (500, 784, 1)
        assert peak < 12 * path.stat().st_size


class TestKinds:
    """What is to be answered."""

    def test_decimals_are_a_regression(self, tmp_path):
        path = table(tmp_path / "d.csv", [(i, i + 0.5) for i in range(20)], "a,y")
        data = load(path, valid=0, test=0)
        assert data.kind == "regression"
        assert data.train.targets.dtype == np.float32
        assert data.train.targets.shape == (20, 1)
        assert data.labels == ["value"]

    def test_whole_numbers_are_classes_unless_said_otherwise(self, tmp_path):
        path = table(tmp_path / "d.csv", [(i, i % 12) for i in range(60)], "a,y")
        data = load(path)
        assert data.kind == "single"
        assert data.labels == [str(i) for i in range(12)]
        assert load(path, kind="regression").kind == "regression"

    def test_several_columns_of_0_and_1_are_several_labels(self, tmp_path):
        path = table(tmp_path / "d.csv", [(i, i % 2, i % 3 == 0) for i in range(20)], "a,p,q")
        path.write_text(path.read_text().replace("True", "1").replace("False", "0"))
        data = load(path, label=["p", "q"], valid=0, test=0)
        assert data.kind == "multi"
        assert data.labels == ["p", "q"]
        assert data.train.targets[:4].tolist() == [[0, 1], [1, 0], [0, 0], [1, 1]]
        assert load(path, label="p,q").labels == ["p", "q"]

    def test_several_columns_of_numbers_are_a_regression(self, tmp_path):
        path = table(tmp_path / "d.csv", [(i, i / 2, i / 3) for i in range(20)], "a,p,q")
        data = load(path, label="p,q", valid=0, test=0)
        assert data.kind == "regression"
        assert data.labels == ["p", "q"]
        assert data.train.targets.shape == (20, 2)

    def test_labels_of_one_cell_are_cut_at_the_bar(self, tmp_path):
        cells = ["b|a", "a", "", "c | a"] * 5
        path = table(tmp_path / "d.csv", [(i, cell) for i, cell in enumerate(cells)], "a,label")
        path.write_text(path.read_text().replace(",\n", ",|\n"))
        data = load(path, valid=0, test=0)
        assert data.kind == "multi"
        assert data.labels == ["a", "b", "c"]
        assert data.train.targets[:4].tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1]]

    def test_labels_of_a_model_keep_their_numbers(self, tmp_path):
        path = table(tmp_path / "d.csv", numbers())
        data = load(path, labels=["w", "y", "x"], valid=0, test=0)
        assert data.train.targets[:2].tolist() == [2, 1]
        assert load("digits", labels=list("9876543210"), valid=0, test=0).train.targets[
            :3
        ].tolist() == [9, 8, 7]


class TestSignals:
    """One moment a row."""

    rows = [(f"s{i}", t, t + i, -t, "xy"[i % 2]) for i in range(12) for t in range(1 + i % 4)]

    def test_series_have_their_lengths_and_order(self, tmp_path):
        shuffled = [self.rows[i] for i in np.random.RandomState(0).permutation(len(self.rows))]
        path = table(tmp_path / "d.csv", shuffled, "id,time,u,v,label")
        data = load(path, valid=0, test=0, scale="none")
        assert data.preparation.columns == ("u", "v")
        for name, series, target in zip(
            data.train.ids, data.train.inputs, data.train.targets, strict=True
        ):
            i = int(name[1:])
            assert series.tolist() == [[t + i, -t] for t in range(1 + i % 4)]
            assert target == i % 2

    def test_times_may_be_dates(self, tmp_path):
        rows = [(i // 3, f"2026-01-01T00:00:{9 - i % 3:02}", i, i // 3 % 2) for i in range(30)]
        data = load(
            table(tmp_path / "d.csv", rows, "id,time,v,label"), valid=0, test=0, scale="none"
        )
        assert data.train.inputs[0].ravel().tolist() == [2, 1, 0]

    def test_a_batch_of_them_is_padded(self, tmp_path):
        data = load(table(tmp_path / "d.csv", self.rows, "id,time,u,v,label"), valid=0, test=0)
        batch = next(batches(data.train, data.preparation, 12))
        assert batch.inputs.shape == (12, 4, 2)
        assert batch.lengths.tolist() == [1, 2, 3, 4] * 3

    def test_columns_can_be_called_anything(self, tmp_path):
        path = table(tmp_path / "d.csv", self.rows, "run,at,u,v,state")
        data = load(path, id="run", time="at", label="state", features="v")
        assert data.preparation.columns == ("v",)

    def test_no_device_is_in_two_parts(self, tmp_path):
        rows = [(*row[:2], f"dev{int(row[0][1:]) % 4}", *row[2:]) for row in self.rows]
        path = table(tmp_path / "d.csv", rows, "id,time,device,u,v,label")
        data = load(path, group="device")
        parts = [set(part.groups) for part in (data.train, data.valid, data.test)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 4


class TestArrays:
    """NumPy's files, and arrays in memory."""

    def test_npy_with_answers_beside_it(self, tmp_path):
        np.save(tmp_path / "x.npy", np.ones((20, 5, 2)))
        np.save(tmp_path / "y.npy", np.arange(20) % 2)
        data = load(tmp_path / "x.npy", label="y.npy")
        assert data.preparation.features == 2
        assert set(data.provenance["sha256"]) == {"x.npy", "y.npy"}

    def test_npz_with_lengths_groups_and_ids(self, tmp_path):
        np.savez(
            tmp_path / "d.npz",
            x=np.ones((20, 5, 2)),
            y=np.arange(20) % 2,
            lengths=1 + np.arange(20) % 5,
            groups=np.arange(20) // 4,
            ids=np.arange(100, 120),
        )
        data = load(tmp_path / "d.npz")
        assert [len(one) for one in data.train.inputs] == [
            1 + (int(i) - 100) % 5 for i in data.train.ids
        ]
        assert data.provenance["rule"] == "by group"

    def test_npz_with_a_test_part_of_its_own(self, tmp_path):
        pixels = np.zeros((20, 4, 4), np.uint8)
        np.savez(
            tmp_path / "d.npz",
            x_train=pixels,
            y_train=np.arange(20) % 2,
            x_test=pixels[:6] + 1,
            y_test=np.arange(6) % 2,
        )
        data = load(tmp_path / "d.npz")
        assert data.preparation.form == "image"
        assert (len(data.train), len(data.valid), len(data.test)) == (18, 2, 6)
        assert data.test.inputs.max() == 1

    def test_names_can_be_said(self, tmp_path):
        np.savez(tmp_path / "d.npz", a=np.zeros((20, 3)), b=np.arange(20) % 2)
        assert load(tmp_path / "d.npz", features="a", label="b").preparation.features == 1

    def test_arrays_of_names_true_and_false_and_whole_floats_are_classes(self):
        x = np.zeros((8, 3))
        assert from_arrays(x, ["b", "a"] * 4).labels == ["a", "b"]
        assert from_arrays(x, [True, False] * 4).labels == ["0", "1"]
        assert from_arrays(x, [1.0, 2.0] * 4).labels == ["1", "2"]
        assert from_arrays(x, np.linspace(0, 1, 8)).kind == "regression"
        assert from_arrays(x, np.eye(8)[:, :3].astype(int)).kind == "multi"


class TestImages:
    """Folders of pictures."""

    @staticmethod
    def draw(folder, count=20, mode="L", size=(6, 4), ending=".png"):
        for i in range(count):
            path = folder / ("ab"[i % 2]) / f"{i:02}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new(mode, size, i if mode in ("L", "I;16") else (i, 0, 0)).save(path)
        return folder

    def test_classes_are_folders_and_pixels_those_of_the_files(self, tmp_path):
        data = load(self.draw(tmp_path), valid=0, test=0)
        assert data.labels == ["a", "b"]
        assert data.train.inputs.shape == (20, 4, 6)
        for name, pixels in zip(data.train.ids, data.train.inputs, strict=True):
            assert np.all(pixels == int(name.split("/")[1][:2]))

    def test_colours_are_kept_where_there_are_any(self, tmp_path):
        data = load(self.draw(tmp_path, mode="RGB"), valid=0, test=0)
        assert data.train.inputs.shape == (20, 4, 6, 3)
        assert data.preparation.features == 18

    def test_sixteen_bits_become_eight(self, tmp_path):
        data = load(self.draw(tmp_path, mode="I;16"), valid=0, test=0)
        assert data.train.inputs.dtype == np.uint8

    def test_other_files_are_passed_over(self, tmp_path):
        self.draw(tmp_path)
        (tmp_path / "a" / "notes.txt").write_text("x")
        (tmp_path / ".hidden").mkdir()
        (tmp_path / "a" / ".DS_Store").write_bytes(b"x")
        (tmp_path / "a" / "._00.png").write_bytes(b"x")
        assert len(load(tmp_path, valid=0, test=0).train) == 20

    def test_folders_called_train_and_test_are_the_parts(self, tmp_path):
        self.draw(tmp_path / "train")
        self.draw(tmp_path / "val", count=4)
        self.draw(tmp_path / "test", count=6)
        data = load(tmp_path)
        assert (len(data.train), len(data.valid), len(data.test)) == (20, 4, 6)

    def test_sizes_are_brought_together_when_asked(self, tmp_path):
        self.draw(tmp_path, count=4)
        self.draw(tmp_path, count=2, size=(9, 9))
        data = load(tmp_path, size=(5, 5), valid=0, test=0)
        assert data.train.inputs.shape == (4, 5, 5)
        assert data.preparation.resize


class TestPartsByPath:
    """Validation and test data in files of their own."""

    def test_they_are_numbered_as_the_training_data_is(self, tmp_path):
        train = table(tmp_path / "train.csv", numbers())
        test = table(tmp_path / "test.csv", [row for row in numbers() if row[3] == "y"])
        data = load(train, valid=test, test=str(test))
        assert len(data.train) == 20
        assert set(data.valid.targets) == set(data.test.targets) == {1}


class TestInputs:
    """Files without answers, to predict from."""

    def test_the_columns_of_the_training_data_are_found_by_name(self, tmp_path):
        trained = load(table(tmp_path / "d.csv", numbers())).preparation
        new = table(tmp_path / "new.csv", [(9, "note", 1, 2)], "c,remark,a,b")
        inputs, ids = read_inputs(new, trained)
        assert inputs[:, :, 0].tolist() == [[1, 2, 9]]
        assert ids == ["0"]

    def test_signals_bring_their_ids(self, tmp_path):
        header = "id,time,u,v,label"
        trained = load(table(tmp_path / "d.csv", TestSignals.rows, header)).preparation
        new = table(tmp_path / "n.csv", [("n", 1, 5, 6), ("n", 0, 3, 4)], "id,time,u,v")
        inputs, ids = read_inputs(new, trained)
        assert ids == ["n"]
        assert inputs[0].tolist() == [[3, 4], [5, 6]]

    def test_missing_values_are_read_as_in_training(self, tmp_path):
        rows = [("" if i == 3 else i, 1, 1, "xy"[i % 2]) for i in range(20)]
        trained = load(table(tmp_path / "d.csv", rows), missing="mask").preparation
        inputs, _ = read_inputs(table(tmp_path / "n.csv", [("", 1, 2)], "a,b,c"), trained)
        assert trained(inputs)[0][0].tolist()[0][1] == 1

    def test_one_image_or_a_folder_of_them(self, tmp_path):
        TestImages.draw(tmp_path / "train")
        trained = load(tmp_path / "train").preparation
        one, ids = read_inputs(tmp_path / "train" / "a" / "00.png", trained)
        assert one.shape == (1, 4, 6)
        assert ids == ["00.png"]
        many, ids = read_inputs(tmp_path / "train", trained)
        assert len(many) == 20
        assert ids[0] == "a/00.png"

    def test_an_image_is_resized_and_inverted_when_asked(self, tmp_path):
        Image.new("L", (28, 28), 255).save(tmp_path / "paper.png")
        trained = load("digits").preparation
        inputs, _ = read_inputs(tmp_path / "paper.png", trained, resize=True, invert=True)
        assert inputs.shape == (1, 8, 8)
        assert not inputs.any()

    def test_arrays_of_many_or_of_one(self, tmp_path):
        trained = from_arrays(np.ones((4, 5, 2)), [0, 1] * 2).preparation
        for shape, count in (((3, 7, 2), 3), ((7, 2), 1)):
            np.save(tmp_path / "x.npy", np.ones(shape))
            inputs, ids = read_inputs(tmp_path / "x.npy", trained)
            assert len(inputs) == len(ids) == count
        np.savez(tmp_path / "x.npz", x=np.ones((3, 7, 2)))
        assert len(read_inputs(tmp_path / "x.npz", trained)[0]) == 3
        digit = load("digits")
        np.save(tmp_path / "digit.npy", digit.train.inputs[0])
        assert read_inputs(tmp_path / "digit.npy", digit.preparation)[0].shape == (1, 8, 8)
