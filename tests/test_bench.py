"""`unrolled bench`: operations counted by hand, no time on a wrong result, rivals in turn."""

import io
import json
from dataclasses import asdict

import pytest
import torch

from unrolled import memory
from unrolled.bench import contenders as who
from unrolled.bench import streams
from unrolled.bench.apart import Apart, serve
from unrolled.bench.contenders import Contender, contenders
from unrolled.bench.peak import peak
from unrolled.bench.report import Measured, markdown
from unrolled.bench.tables import TABLES, Row, rows
from unrolled.bench.timing import Times, interleaved
from unrolled.bench.work import Shape, Work, shape
from unrolled.cells import names
from unrolled.errors import BackendError, UsageError

SMALL = Shape(2, 3, 4, 5, 2)


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5,6", "0,1,1,1", "1,2,3,x", "1;2;3;4"])
def test_a_shape_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="--shape: expected B,T,I,H"):
        shape(text)


def test_operations_are_those_of_the_products():
    lstm = Work("lstm", SMALL, training=False)
    assert lstm.operations() == 2 * 2 * 3 * 20 * ((4 + 5) + (5 + 5))
    assert Work("lstm", SMALL).operations() == 2 * 2 * 3 * 20 * ((2 * 4 + 3 * 5) + 3 * (5 + 5))
    scan = Work("mingru", Shape(1, 7, 4, 5), training=False)
    assert scan.operations() == 2 * 7 * 10 * 4
    window = Work("qrnn", Shape(1, 1, 4, 5), training=False)
    assert window.operations() == 2 * 15 * 2 * 4


@pytest.mark.parametrize("cell", ["lstm", "gru-first", "rnn-relu"])
def test_everybody_is_checked_and_ours_comes_first(cell):
    found = contenders(Work(cell, SMALL), "reference")
    assert found[0].name == "unrolled (reference)"
    rivals = ["torch.nn", "loop"] if cell != "gru-first" else ["loop"]
    assert [c.name for c in found[1:] if c.checked] == rivals
    for contender in found:
        contender.call()


def test_bfloat16_is_timed_beside_our_float32():
    found = contenders(Work("rnn", SMALL, dtype="bfloat16"), "reference")
    assert [c.name for c in found] == [
        "unrolled (reference)",
        "ours in float32",
        "torch.nn",
        "loop",
    ]
    assert peak("bfloat16", seconds=0.05) > 1e8


@pytest.mark.parametrize("training", [True, False])
def test_no_time_is_reported_on_a_wrong_result(training, monkeypatch):
    right = who._torch_nn

    def wrong(work, ours, dtype):
        rival = right(work, ours, dtype)
        with torch.no_grad():
            rival.weight_hh_l1[3, 2] += 0.1
        return rival

    monkeypatch.setattr(who, "_torch_nn", wrong)
    with pytest.raises(BackendError, match=r"no time is reported: .* of torch\.nn, lstm"):
        contenders(Work("lstm", SMALL, training), "reference")


def test_a_wrong_gradient_is_a_wrong_result(monkeypatch):
    right = who._results

    def wrong(module, *given):
        found = right(module, *given)
        if isinstance(module, torch.nn.LSTM):
            found["d weight_hh_l0"] = found["d weight_hh_l0"] * 1.01
        return found

    monkeypatch.setattr(who, "_results", wrong)
    with pytest.raises(BackendError, match=r"d weight_hh_l0 of torch\.nn"):
        contenders(Work("lstm", SMALL), "reference")


def test_a_missing_gradient_is_a_wrong_result():
    truth, lost = {"output": torch.ones(1), "d w": torch.ones(1)}, {"output": 0.0, "d w": 0.0}
    with pytest.raises(BackendError, match="got inf away"):
        who._hold("x", Work("rnn", SMALL), truth, lost, {"output": truth["output"]})


def test_a_rival_that_rounds_more_is_timed_and_said_to_and_ours_is_not():
    truth, lost = {"output": torch.ones(1).double()}, {"output": 1e-7}
    rough, wrong = {"output": torch.tensor([1.0001])}, {"output": torch.tensor([1.001])}
    work = Work("rnn", SMALL)
    assert "output lies 0.0001 from float64's" in who._hold("torch.nn", work, truth, lost, rough)
    assert not who._hold("torch.nn", work, truth, lost, {"output": truth["output"].float()})
    for name, got in (("unrolled", rough), ("torch.nn", wrong)):
        with pytest.raises(BackendError, match=f"no time is reported: output of {name}"):
            who._hold(name, work, truth, lost, got)


def test_what_a_rival_loses_stands_below_the_table_and_in_the_facts():
    row = Row(Work("lstm", SMALL), {"torch.nn": 0.5})
    times = {"unrolled (c)": Times((1.0,)), "torch.nn": Times((2.0,))}
    seen = Measured(row, times, (), None, {"torch.nn": "it rounds"})
    assert markdown([seen])[-1] == f"lstm, {SMALL}, torch.nn: it rounds."
    assert any("(it rounds)" in line for line in seen.lines())
    assert seen.facts()["loses"] == {"torch.nn": "it rounds"}


def test_rivals_take_turns_and_short_calls_are_repeated():
    said, now = [], [0.0]

    def of(name, seconds):
        def call():
            said.append(name)
            now[0] += seconds

        return Contender(name, call, clock=lambda: now[0])

    times = interleaved([of("a", 1.0), of("b", 2.0)], 4)
    assert "".join(said[4:]) == "ab" + "ba" + "ab" + "ba"
    assert times["a"].median == pytest.approx(1.0)
    assert times["b"].median == pytest.approx(2.0)
    said.clear()
    assert interleaved([of("a", 1e-4)], 2)["a"].best == pytest.approx(1e-4)
    assert len(said) == 2 + 2 * (1 + 20)


def test_a_stream_is_checked_beside_its_rivals(monkeypatch):
    small = Shape(1, 1, 3, 5, 2)
    found = streams.stream_contenders(small, "reference")
    names_ = ["unrolled (reference)", "nn.LSTM", "nn.LSTMCell", "NumPy", "ONNX Runtime, bound"]
    assert [c.name for c in found] == names_
    for contender in found:
        contender.call()
    monkeypatch.setattr(streams, "NEAR", 1e-12)
    with pytest.raises(BackendError, match="no time is reported: a step of"):
        streams.stream_contenders(small, "reference")


def test_the_peak_is_above_what_a_product_reaches():
    a, most, reached = torch.randn(256, 256), 0.0, 0.0
    product = Contender("mm", lambda: a @ a)
    for _ in range(20):  # others compute on this machine too: the quiet moments count
        most = max(most, peak(seconds=0.05))
        reached = max(reached, 2 * 256**3 / interleaved([product], 3)["mm"].best)
        if most > reached:
            break
    assert most > reached


def test_the_tables_name_cells_that_exist_and_have_targets():
    for name in TABLES:
        for row in rows(name):
            assert row.work.cell in names()
            assert row.share or any(row.rivals.values())
    with pytest.raises(UsageError, match="one of network"):
        rows("all")


def measured(ours, rival, row):
    return Measured(row, {"unrolled (c)": Times((ours,)), "torch.nn": Times((rival,))}, (), 1e9)


def test_a_target_is_met_or_not():
    row = Row(Work("lstm", SMALL), {"torch.nn": 0.5})
    assert measured(1.0, 2.0, row).met
    assert not measured(1.1, 2.0, row).met
    assert measured(1.0, 2.0, Row(row.work)).met is None
    lines = markdown([measured(1.0, 2.0, row)])
    assert "| torch.nn 2000.00 ms | **0.50** | ≤ 0.5 |" in lines[2]


def test_a_contender_has_a_process_of_its_own_that_ends_with_it():
    work = Work("rnn", SMALL)
    ours, rival, *_ = contenders(work, "reference")
    with Apart(ours, work, "reference") as one, Apart(rival, work, "reference") as other:
        times = interleaved([one, other], 3)
        running = [one._process, other._process]
        assert [p.poll() for p in running] == [None, None]
    assert list(times) == ["unrolled (reference)", "torch.nn"]
    assert all(0 < t.best < 1 for t in times.values())
    assert None not in [p.poll() for p in running]


def test_a_process_that_ends_early_is_said():
    work = Work("rnn", SMALL)
    lost = Contender("nobody", lambda: None, key="torchrecurrent")
    with (
        Apart(lost, Work("gru-first", SMALL), "reference") as one,
        pytest.raises(BackendError, match="the process that times nobody: expected an answer"),
    ):
        one.seconds(1)
    ours = contenders(work, "reference")[0]
    with Apart(ours, work, "reference") as one:
        one._process.kill()
        one._process.wait()
        with pytest.raises(BackendError, match="the process that times unrolled"):
            one.seconds(1)


def test_processes_keep_what_they_free_where_asked(monkeypatch):
    work, kept = Work("rnn", SMALL), []
    monkeypatch.setattr(memory, "keep_freed", lambda: kept.append(True))
    for keep in (False, True):
        said = {"key": "loop", "backend": "reference", "threads": 1, "keep_freed": keep}
        answers = io.StringIO()
        serve([json.dumps({"work": asdict(work), **said}), "2 1"], answers)
        ready, seconds = answers.getvalue().split()
        assert ready == "ready"
        assert float(seconds) > 0
    assert kept == [True]


def test_a_cell_of_a_file_that_prints_is_timed_beside_modules_of_any_name(
    unrolled, tmp_path, monkeypatch
):
    (tmp_path / "random.py").write_text("raise SystemExit('not the standard one')\n")
    (tmp_path / "mine.py").write_text(
        "from unrolled.cells import Cell, tanh\n"
        "print('0.5')\n"
        "class Mine(Cell):\n"
        "    gates, states = 'a', 'h'\n"
        "    def step(self, x, u, h):\n"
        "        return {'h': tanh(x.a + u.a(h))}\n"
    )
    monkeypatch.chdir(tmp_path)
    ran = unrolled("bench", "mine.py:Mine", "--shape", "2,3,4,5", "--runs", "2")
    assert ran.code == 0
    assert "ours takes" in ran.out


def test_the_command_prints_lines_json_and_a_table(unrolled):
    given = ("bench", "mingru", "--shape", "2,3,4,5", "--runs", "2")
    out = unrolled(*given).out
    assert "mingru, B=2 T=3 I=4 H=5, training, float32" in out
    assert "ours takes" in out
    facts = json.loads(unrolled(*given, "rnn", "--json", "--inference").out)
    assert [row["cell"] for row in facts["rows"]] == ["mingru", "rnn"]
    assert all(row["runs"] == 2 and row["ratio"]["loop"] > 0 for row in facts["rows"])
    assert "| work | ours |" in unrolled(*given, "--table", "--keep-freed").out


@pytest.mark.parametrize(
    "given",
    [
        ("nothing-like-it",),
        ("rnn", "--shape", "1"),
        ("rnn", "--dtype", "int8"),
        ("rnn", "--backend", "fast"),
        ("rnn", "--preset", "network"),
        ("--preset", "all"),
    ],
)
def test_what_cannot_be_timed_is_said_in_one_line(given, unrolled):
    ran = unrolled("bench", *given)
    assert ran.code == 2
    assert ran.err.count("\n") == 1
