"""The command `unrolled` itself: instant, one-line errors, exit codes, two languages."""

import json
import os
import signal
import statistics
import subprocess
import sys
import time

import pytest

import unrolled as package
from unrolled import cli, messages
from unrolled.errors import DataError, UnrolledError, UsageError

COMMAND = [sys.executable, "-m", "unrolled"]


def test_help_lists_every_verb_with_a_line(unrolled):
    ran = unrolled("--help")
    assert ran.code == 0
    for verb, (_, _, line) in cli.COMMANDS.items():
        assert f"{verb} " in ran.out
        assert line in ran.out


def test_without_a_verb_the_help_is_shown(unrolled):
    assert "Commands:" in unrolled().err + unrolled().out


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["nosuch"], ["--lang", "xx"]])
def test_what_needs_no_verb_loads_nothing_heavy(arguments):
    code = (
        "import sys; from unrolled.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass\n"
        "print('heavy:', *(m for m in 'torch numpy sympy sklearn matplotlib rich'.split()"
        " if m in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1].strip() == "heavy:"


@pytest.mark.parametrize("arguments", [["-m", "unrolled", "--help"], ["-c", "import unrolled"]])
def test_help_and_import_answer_at_once(arguments):
    times = []
    for _ in range(7):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
        times.append(time.perf_counter() - start)
    # 0.3 s is the promise; the median of a busy machine is allowed three times as much
    assert statistics.median(times) < 0.9


@pytest.mark.parametrize("verb", sorted(cli.COMMANDS))
def test_every_verb_loads_and_explains_itself(verb, unrolled):
    ran = unrolled(verb, "--help")
    assert ran.code == 0
    assert f"Usage: unrolled {verb}" in ran.out


def test_version(unrolled):
    assert unrolled("--version").out.strip() == f"unrolled {package.__version__}"


def test_an_unknown_verb_exits_2_and_names_the_closest(unrolled):
    ran = unrolled("doctr")
    assert ran.code == 2
    assert "doctor" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [["doctor", "--nosuch"], ["cells", "show"], ["cells", "show", "lstm", "--input", "x"]],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments, unrolled):
    ran = unrolled(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("Error: ")
    assert "--help" in ran.err
    assert ran.err.count("\n") == 1


def test_wrong_usage_speaks_korean(unrolled):
    ran = unrolled("cells", "show", "--lang", "ko")
    assert ran.code == 2
    assert ran.err == (
        "오류: 인자 'CELL'이(가) 빠졌습니다. 도움말은 unrolled cells show --help에 있습니다.\n"
    )


def raising(monkeypatch, error):
    def fail():
        raise error

    monkeypatch.setattr("unrolled.cli.doctor.doctor", fail)


def test_an_error_is_one_line_on_stderr_and_exit_code_2(unrolled, monkeypatch):
    raising(
        monkeypatch,
        DataError("a.csv, line 3", expected="64 columns", got="63", fix="Complete\nit."),
    )
    ran = unrolled("doctor")
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err == "Error: a.csv, line 3: expected 64 columns, got 63. Complete it.\n"


def test_ctrl_c_exits_130_and_says_nothing_of_the_code(unrolled, monkeypatch):
    raising(monkeypatch, KeyboardInterrupt())
    ran = unrolled("doctor")
    assert ran.code == 130
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("fault", [ZeroDivisionError, EOFError])
def test_a_fault_of_ours_is_not_hidden(fault, unrolled, monkeypatch):
    raising(monkeypatch, fault("ours"))
    with pytest.raises(fault):
        cli.main(["doctor"])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGPIPE and closes pipes otherwise")
@pytest.mark.parametrize("arguments", [["cells", "list"], ["--help"], ["--version"]])
def test_a_reader_that_leaves_is_no_error(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run([*COMMAND, *arguments], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert ran.stderr == ""
    assert ran.returncode in (0, 1)


@pytest.mark.parametrize(
    "arguments", [["--lang", "ko", "--help"], ["--help", "--lang", "ko"], ["--lang=ko", "--help"]]
)
def test_korean_is_spoken_wherever_it_is_asked_for(arguments, unrolled):
    assert "데이터" in unrolled(*arguments).out


def test_korean_after_the_verb(unrolled):
    assert "셀" in unrolled("cells", "--help", "--lang", "ko").out


def test_after_two_dashes_lang_is_an_argument_like_others():
    assert cli._take_language(["cells", "--", "--lang", "ko"]) == ["cells", "--", "--lang", "ko"]
    assert messages.language() == "en"


@pytest.mark.parametrize("arguments", [["--lang", "fr"], ["--lang"], ["--lang=", "doctor"]])
def test_a_language_that_is_not_spoken_exits_2(arguments, unrolled):
    ran = unrolled(*arguments)
    assert ran.code == 2
    assert "en or ko" in ran.err


def test_an_error_speaks_korean(unrolled):
    ran = unrolled("--lang", "ko", "cells", "show", "lstn")
    assert ran.code == 2
    assert ran.err.startswith("오류: ")
    assert ran.err.count("\n") == 1
    assert "lstm" in ran.err


def test_the_module_runs_as_the_command_does():
    ran = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout == f"unrolled {package.__version__}\n"


@pytest.mark.skipif(os.name == "nt", reason="signals are sent otherwise on Windows")
def test_ctrl_c_from_outside_exits_130():
    code = (
        "import time, unrolled.cli.doctor as d\n"
        "def wait(): print('waiting', flush=True); time.sleep(60)\n"
        "d.doctor = wait\n"
        "from unrolled.cli import main; main(['doctor'])"
    )
    # Started in a shell's background, this very process ignores the signal; its child must not.
    usual = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], text=True, **pipes, **usual) as process:
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        try:
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Traceback" not in err


@pytest.mark.parametrize("kind", UnrolledError.__subclasses__())
def test_every_kind_of_error_is_said_in_one_line(kind, unrolled, monkeypatch):
    raising(monkeypatch, kind("the fact", expected="this", got="that", fix="Do so."))
    assert unrolled("doctor").err == "Error: the fact: expected this, got that. Do so.\n"


def test_usage_errors_are_of_the_one_base():
    assert issubclass(UsageError, UnrolledError)


def test_json_is_json(unrolled):
    for arguments in (["doctor", "--json"], ["cells", "list", "--json"]):
        assert json.loads(unrolled(*arguments).out)
