"""The console's modules that know no page, in JavaScript's own tests."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tornado.ioloop import IOLoop

from tests.support.node import FOLDER, needs_node_runner, run_tests
from tests.web.support import engine
from tycostream.web.http import answer_post
from tycostream.web.static_files import read_static

FILES = sorted((FOLDER / "console").glob("*.test.mjs"))


@pytest.fixture
def introspection(io_loop: IOLoop, tmp_path: Path) -> Path:
    """What the service answers to the console's question for its schema."""
    (query,) = re.findall(r"INTROSPECTION = `(.*?)`", read_static()["console/schema.js"][1].decode(), re.DOTALL)
    body = json.dumps({"query": query}).encode()
    answer = io_loop.run_sync(lambda: answer_post(engine(), "application/json", "", body))
    file = tmp_path / "introspection.json"
    file.write_text(json.dumps(json.loads(answer.body)["data"]))
    return file


@needs_node_runner
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_modules(file: Path, introspection: Path) -> None:
    run_tests(file, INTROSPECTION=str(introspection))
