"""The table of commands and how errors read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from cli import context, main
from cli.errors import HoopError


def hoopctl(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `python -m cli` as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        check=False,
    )


def fails(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Makes the command `sql` end with this error."""

    def command() -> None:
        raise error

    monkeypatch.setattr(main, "load_command", lambda name: main._command(name, command))


def test_help_lists_every_command() -> None:
    """`hoopctl --help`, and hoopctl alone, list each command with its help, and end 0."""
    done = hoopctl("--help")
    assert done.returncode == 0
    for name, entry in main.COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert entry.help in done.stdout
    assert hoopctl().stdout == done.stdout


def test_help_imports_little() -> None:
    """What a command needs is imported when it is called: --help loads no part of the agent and none of the heavy
    libraries."""
    code = (
        "import sys; from cli.main import run; run(['--help']); "
        "print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {
        "agent",
        "duckdb",
        "twisted",
        "rich",
        "yaml",
        "msgspec",
        "cryptography",
        "sqlite3",
        "pygments",
        "asyncio",
    } & set(done.stderr.split())


@pytest.mark.parametrize("name", sorted(main.COMMANDS))
def test_each_help_ends_with_an_example(name: str) -> None:
    """A command's help, and that of each of its sub-commands, ends with an example."""
    command = main.load_command(name)
    parts = {name: command} if not hasattr(command, "commands") else command.commands
    for part, found in parts.items():
        if not found.hidden:
            assert f"hoopctl {'' if part == name else name}".strip() in found.help.split("Example:")[-1], part
            assert "Example:" in found.help, part


def test_errors_read_alike(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An error is one line that says what happened and one that says what to do, with the status that it names."""
    fails(monkeypatch, HoopError("it broke (got 1, expected 2)", "mend it", status=2))
    assert main.run(["sql"]) == 2
    assert capsys.readouterr().err == "hoopctl: error: it broke (got 1, expected 2)\nhoopctl: hint: mend it\n"


def test_errors_are_harmless_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An error that quotes control characters, say from a database, doesn't act on the terminal."""
    fails(monkeypatch, HoopError("got \x1b]0;owned\x07 \x9b2J\r\u202e", "x\x1b[2J"))
    main.run(["sql"])
    err = capsys.readouterr().err
    assert "\\x1b]0;owned\\x07" in err
    assert all(letter.isprintable() or letter == "\n" for letter in err)


@pytest.mark.parametrize(
    "error, status, expected",
    [
        (KeyboardInterrupt(), 130, ""),
        (typer.Exit(7), 7, ""),
        (typer.Abort(), 130, ""),
        (FileNotFoundError(2, "No such file or directory", "x.sql"), 1, "error: no such file or directory: x.sql\n"),
        (ZeroDivisionError("division by zero"), 1, "error: unexpected ZeroDivisionError: division by zero\n"),
    ],
)
def test_statuses(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    expected: str,
) -> None:
    """Whatever a command ends with, there is a status and no traceback."""
    fails(monkeypatch, error)
    assert main.run(["sql"]) == status
    err = capsys.readouterr().err
    assert expected in err
    assert "Traceback" not in err


def test_debug_shows_where(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """--debug adds the traceback."""
    fails(monkeypatch, ZeroDivisionError())
    main.run(["--debug", "sql"])
    assert "Traceback" in capsys.readouterr().err


def test_agent_errors_keep_their_hint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An error from the agent's side that carries a message and a hint is shown as one of ours."""
    from agent.store.control import StateError

    fails(monkeypatch, StateError("the state is gone", "bring it back"))
    assert main.run(["sql"]) == 1
    assert capsys.readouterr().err == "hoopctl: error: the state is gone\nhoopctl: hint: bring it back\n"


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["sqll"], "no such command 'sqll'. Did you mean 'sql'?"),
        (["--nope"], "no such option"),
        (["connect", "pg"], "missing argument"),
        (["--config"], "requires an argument"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str) -> None:
    """Wrong usage ends 2, says what is wrong and which help to read."""
    assert main.run(arguments) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("hoopctl: error: ")
    assert expected in error
    assert hint.endswith("--help")


def test_missing_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A command whose module or dependency is missing says which; the help still lists it."""
    monkeypatch.setitem(main.COMMANDS, "sql", main.Entry("cli.nonesuch", "command", "x"))
    assert main.run(["sql"]) == 1
    assert "no module cli.nonesuch" in capsys.readouterr().err
    assert main.run(["--help"]) == 0


def test_broken_pipe() -> None:
    """A reader that goes away ends hoopctl quietly."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "cli", "--help"], stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(writing)
    assert done.returncode == 1
    assert done.stderr == b""


def test_version() -> None:
    """--version says what this is."""
    done = hoopctl("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("hoopctl ")


def test_configuration_is_found(tmp_path: Path) -> None:
    """Without --config: $HOOPCTL_CONFIG, else ./hoop.yaml, else the one under ~/.config; else an error with status 2
    that says where was looked."""
    home = tmp_path / "home"
    place = home / ".config" / "hoopctl"
    place.mkdir(parents=True)
    code = "from cli.context import configuration_file; print(configuration_file())"

    def found(**environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd()), "HOME": str(home)} | environment,
        )
        return done.stdout.strip() or done.stderr.splitlines()[-1]

    if not Path("/etc/hoopctl/hoop.yaml").exists():
        assert "no configuration found (looked for hoop.yaml" in found()
    (place / "hoop.yaml").write_text("")
    assert found() == str(place / "hoop.yaml")
    (tmp_path / "hoop.yaml").write_text("")
    assert found() == str(tmp_path / "hoop.yaml")
    (tmp_path / "other.yaml").write_text("")
    assert found(HOOPCTL_CONFIG="other.yaml") == str(tmp_path / "other.yaml")
    assert "does not exist" in found(HOOPCTL_CONFIG="none.yaml")


def test_strangers_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hoop.yaml that others can write, or of another user, isn't picked up by chance from the current directory; one
    that is named is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOOPCTL_CONFIG", raising=False)
    file = tmp_path / "hoop.yaml"
    file.write_text("version: 1\n")
    file.chmod(0o666)
    with pytest.raises(HoopError, match="can be written by others") as caught:
        context.configuration_file()
    assert caught.value.hint == "if you trust it, name it: --config hoop.yaml"
    file.chmod(0o644)
    assert context.configuration_file() == file
    monkeypatch.setattr("os.geteuid", lambda: 4_000_000)
    if os.getuid() != 0:
        with pytest.raises(HoopError, match="can be written by others"):
            context.configuration_file()
    file.chmod(0o666)
    monkeypatch.setenv("HOOPCTL_CONFIG", "hoop.yaml")
    assert context.configuration_file() == file


def test_bad_configuration(tmp_path: Path) -> None:
    """A configuration that can't be used ends 2 and names every line."""
    (tmp_path / "hoop.yaml").write_text("version: 1\nsate: x\naudt: y\n")
    done = hoopctl("--config", str(tmp_path / "hoop.yaml"), "resources", "list")
    assert done.returncode == 2
    assert f"{tmp_path}/hoop.yaml:2:1: sate: unknown key (got sate, did you mean state?)" in done.stderr
    assert f"{tmp_path}/hoop.yaml:3:1: audt: unknown key (got audt, did you mean audit?)" in done.stderr
    assert "hoopctl: hint: " in done.stderr


def test_completion() -> None:
    """The shell completes commands without importing them, and can be given its script."""
    done = hoopctl(_HOOPCTL_COMPLETE="complete_bash", COMP_WORDS="hoopctl s", COMP_CWORD="1")
    assert done.stdout.split() == ["service-account", "sessions", "sql"]
    assert "_HOOPCTL_COMPLETE=complete_bash" in hoopctl("--show-completion", "bash").stdout


def test_completion_of_resources(tmp_path: Path) -> None:
    """The names of resources are completed from the configuration that the line names; a broken one completes
    nothing."""
    file = tmp_path / "hoop.yaml"
    file.write_text("version: 1\nresources: [{name: prod, type: pg, upstream: 'postgresql://u@h'}]\n")

    def completed() -> list[str]:
        words = f"hoopctl --config {file} connect pg p"
        done = hoopctl(_HOOPCTL_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD="5")
        assert done.stderr == ""
        return done.stdout.split()

    assert completed() == ["prod"]
    file.write_text("resources: [")
    assert completed() == []
