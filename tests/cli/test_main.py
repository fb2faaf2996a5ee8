from __future__ import annotations

import argparse
import errno
import os
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from franca import __version__
from franca.cli import main as cli
from franca.cli.main import COMMANDS, Command, main
from franca.errors import TRACEBACK, DataError, TooManyBadSamples


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[argparse.Namespace], int]], None]:
    """Installs a command called ``try`` that runs the function it is given."""

    def install(run: Callable[[argparse.Namespace], int]) -> None:
        def add_arguments(parser: argparse.ArgumentParser) -> None:
            parser.add_argument("recipe")
            parser.add_argument("overrides", nargs="*")
            parser.add_argument("--dry-run", action="store_true")

        module = ModuleType("franca_cli_try")
        module.run, module.add_arguments = run, add_arguments  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(cli.COMMANDS, "try", Command(module.__name__, "a command for tests"))

    return install


def raiser(error: BaseException) -> Callable[[argparse.Namespace], int]:
    def run(_: argparse.Namespace) -> int:
        raise error

    return run


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert any(line.split()[:1] == [name] and command.summary in line for line in text.splitlines())


def test_no_command_shows_the_help_and_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: franca COMMAND" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"franca {__version__}\n"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"franca {name}" in capsys.readouterr().out


def test_an_unknown_command_is_met_with_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrian"]) == 2
    message = capsys.readouterr().err
    assert "there is no command 'pretrian'; did you mean pretrain?" in message
    assert "pretrain, eval" in message


def test_options_may_stand_between_overrides(command: Callable[..., None]) -> None:
    seen: list[argparse.Namespace] = []
    command(lambda args: seen.append(args) or 0)
    assert main(["try", "tiny", "a=1", "--dry-run", "b=2"]) == 0
    assert vars(seen[0]) == {"recipe": "tiny", "overrides": ["a=1", "b=2"], "dry_run": True}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tiny", "--", "eval", "--dry-run", "--", "x"], ["eval", "--dry-run", "--", "x"]),
        (["tiny", "--"], []),
        (["tiny"], []),
    ],
)
def test_what_follows_two_dashes_is_the_command_that_is_wrapped(
    words: list[str], expected: list[str], command: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[argparse.Namespace] = []
    command(lambda args: seen.append(args) or 0)
    monkeypatch.setitem(cli.COMMANDS, "try", cli.COMMANDS["try"]._replace(wraps=True))
    assert main(["try", *words]) == 0
    assert (seen[0].recipe, seen[0].dry_run, seen[0].command) == ("tiny", False, expected)


@pytest.mark.parametrize("arguments", [[], ["tiny", "--no-such"], ["tiny", "--dry"]])
def test_wrong_arguments_show_the_usage(
    arguments: list[str], command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(lambda args: 0)
    assert main(["try", *arguments]) == 2
    assert "usage: franca try" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "code"), [(DataError("no photos"), 2), (TooManyBadSamples("bad"), 1)])
def test_our_errors_are_one_message_and_their_code(
    error: Exception, code: int, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(raiser(error))
    assert main(["try", "x"]) == code
    assert capsys.readouterr().err == f"error: {error}\n"


def test_where_an_error_comes_from_is_shown_on_demand(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = DataError("no photos")
    error.__cause__ = ZeroDivisionError("in code of others")
    command(raiser(error))
    monkeypatch.setenv(TRACEBACK, "1")
    assert main(["try", "x"]) == 2
    shown = capsys.readouterr().err
    assert "ZeroDivisionError: in code of others" in shown and shown.endswith("error: no photos\n")


def test_other_errors_keep_their_traceback(command: Callable[..., None]) -> None:
    command(raiser(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        main(["try", "x"])


def test_the_code_of_the_command_is_passed_on(command: Callable[..., None]) -> None:
    command(lambda args: 75)
    assert main(["try", "x"]) == 75


def test_ctrl_c_is_130(command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    command(raiser(KeyboardInterrupt()))
    assert main(["try", "x"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error_message() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "franca", "config", "explain"],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_the_frame_imports_no_torch() -> None:
    code = "import sys, franca.cli.main as m; m.main(['config', 'list']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(("number", "code"), [(errno.EACCES, 2), (errno.ENOENT, 2), (errno.ENOSPC, 1), (errno.EIO, 1)])
def test_a_wrong_path_is_wrong_input_and_a_failing_disk_a_failure(
    number: int, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: list[str]) -> int:
        raise OSError(number, os.strerror(number), "some/path")

    monkeypatch.setattr("franca.cli.main._run", fail)
    assert main([]) == code
    assert capsys.readouterr().err == f"error: {os.strerror(number)}: some/path\n"


def test_another_rank_says_which_it_is_and_leaves_shared_errors_to_the_one_that_met_them(
    command: Callable[[Callable[[argparse.Namespace], int]], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ranks = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    for name, value in ranks.items():
        monkeypatch.setenv(name, value)
    error = TooManyBadSamples("nothing can be read")
    command(raiser(error))
    for met_on_rank, printed in ((None, "rank 1: error: "), (1, "rank 1: error: "), (0, None)):
        error.met_on_rank = met_on_rank
        assert main(["try", "recipe"]) == 1
        assert capsys.readouterr().err == (f"{printed}nothing can be read\n" if printed else "")
