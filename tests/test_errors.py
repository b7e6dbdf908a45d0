"""The table of error codes, the code that uses them, and docs/errors.md say the same."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_docs import generator
from tycostream import cli, ending
from tycostream.errors import FAILURES, GROUPS, known
from tycostream.triggers.codes import Code
from tycostream.web.close_codes import CloseCode

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "tycostream" / "errors.py"
MODULES = [path for room in ("tycostream", "actors") for path in sorted((ROOT / room).rglob("*.py")) if path != TABLE]


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def taken(path: Path) -> set[str]:
    """The codes that a module takes from the table."""
    return {
        call.args[0].value
        for call in calls(ast.parse(path.read_text()))
        if isinstance(call.func, ast.Name) and call.func.id == "known" and isinstance(call.args[0], ast.Constant)
    }


def spelled(path: Path) -> set[str]:
    """Codes that a module spells for itself, where a code is expected: `"code": "X"`, or the code of `error_body`,
    `refused`, `formatted`."""
    tree = ast.parse(path.read_text())
    found: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            found += [value for key, value in pairs if isinstance(key, ast.Constant) and key.value == "code"]
    for call in calls(tree):
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        if name in ("error_body", "refused", "formatted"):
            found += call.args
    return {one.value for one in found if isinstance(one, ast.Constant) and re.fullmatch("[A-Z_]+", str(one.value))}


def test_no_module_has_a_code_of_its_own() -> None:
    assert {path.name: codes for path in MODULES if (codes := spelled(path))} == {}


def test_every_code_of_the_table_is_used_and_where_it_says() -> None:
    by_module = {path: taken(path) for path in MODULES}
    used = set().union(*by_module.values()) | {code.name for code in CloseCode} | {"CONFIGURATION_INVALID"}
    assert used == set(FAILURES), "in the table and nowhere else, or the other way round"
    assert sum(len(group) for group in GROUPS.values()) == len(FAILURES), "a code is there twice"
    for failure in FAILURES.values():
        assert failure.graphql or failure.http or failure.close or failure.log or failure.exit, failure.code


def test_close_codes_and_triggers_codes_and_exit_codes_are_those_of_the_table() -> None:
    assert {code.name: int(code) for code in CloseCode} == {
        one.code: one.close for one in FAILURES.values() if one.close is not None
    }
    assert {code.name for code in Code} <= {one.code for one in FAILURES.values() if one.graphql}
    assert {one.code: one.exit for one in FAILURES.values() if one.exit is not None} == {
        "START_FAILED": cli.EXIT_FAILED,
        "CONFIGURATION_INVALID": cli.EXIT_CONFIGURATION,
        "SUPERVISOR_FAILED": ending.EXIT_SUPERVISOR_FAILED,
    }


def test_what_is_logged_with_a_code_is_logged_by_the_logger_that_the_table_names() -> None:
    named: dict[str, set[str]] = {}
    for path in MODULES:
        text = path.read_text()
        logger = re.search(r'^log = logging.getLogger\(("([a-z.]+)"|__name__)\)$', text, re.MULTILINE)
        if logger is None:
            continue
        name = logger[2] or ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for call in calls(ast.parse(text)):
            first = call.args[0] if call.args else None
            if isinstance(first, ast.Constant) and str(first.value).endswith("[%s]"):
                (written,) = [one for one in call.args[-1:] if isinstance(one, ast.Name)]
                named.setdefault(name, set()).add(written.id)
    assert {name: len(codes) for name, codes in named.items()} == {
        name: sum(one.log == name for one in FAILURES.values())
        for name in {one.log for one in FAILURES.values()} - {""}
    }


def test_a_code_that_is_not_in_the_table_can_not_be_taken() -> None:
    assert known("LIMIT_EXCEEDED") == "LIMIT_EXCEEDED"
    with pytest.raises(KeyError):
        known("LIMITS_EXCEEDED")


def test_the_page_is_written_from_the_table() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert page == generator().errors(), "run: python docs/generate.py"
    assert re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE) == list(FAILURES)
