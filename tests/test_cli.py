"""The command line itself: what it accepts, what it refuses, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tycostream import __version__
from tycostream.cli import main, make_parser


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"tycostream {__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [["serv"], ["check", "--off"], ["schema"], ["schema", "diff", "a.yaml"], ["schema", "generate", "-e", "x"], ["schema", "generate", "-x"],
     ["--workers", "2", "check"], ["--workers", "65"], ["--workers", "-1"], ["--workers", "some"]],
)  # fmt: skip
def test_what_is_not_known_ends_with_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_options_of_the_generator_keep_their_order() -> None:
    arguments = ["schema", "generate", "-s", "a", "--primary-key", "id", "-e", "x", "p,q", "--source", "b", "-c", "v:x"]
    parsed = make_parser().parse_args(arguments)
    assert parsed.given == [("-s", ["a"]), ("-p", ["id"]), ("-e", ["x", "p,q"]), ("-s", ["b"]), ("-c", ["v:x"])]
    assert not make_parser().parse_args(["schema", "generate"]).given


def test_mistakes_in_the_settings_are_told_by_every_command_that_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_TYPE", "postgers")
    for arguments in ([], ["check"], ["schema", "generate"], ["schema", "print"]):
        assert main(arguments) == 2
        told = capsys.readouterr()
        assert "DATABASE_TYPE" in told.err
        assert "did you mean postgres?" in told.err


def test_a_kind_of_database_without_a_driver_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_TYPE", "risingwave")
    assert main(["schema", "generate", "--all"]) == 2
    assert "DATABASE_TYPE: risingwave is not supported yet" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["postgres", "embedded"])
def test_a_reader_process_for_a_database_that_has_none_is_told(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_TYPE", kind)
    monkeypatch.setenv("DATABASE_READER", "process")
    assert main(["schema", "generate", "--all"]) == 2
    told = f"DATABASE_READER: found 'process', which is for materialize alone, expected loop for {kind}"
    assert told in capsys.readouterr().err


def test_reload_is_for_serving_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--reload", "check", "--offline"])
    assert ended.value.code == 2
    assert "--reload is for serving: it stands without a command" in capsys.readouterr().err
