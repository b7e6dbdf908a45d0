"""When a file counts as changed."""

from __future__ import annotations

import os
from pathlib import Path

from tycostream.reload.changes import Settled, code_fingerprints, fingerprint


def test_only_what_is_at_rest_is_told_and_once() -> None:
    settled = Settled("a")
    assert [settled.look(seen) for seen in "aabcddd"] == [False, False, False, False, False, True, False]


def test_what_comes_back_to_what_was_known_is_not_told() -> None:
    settled = Settled("a")
    assert not any(settled.look(seen) for seen in "abaab")


def test_a_file_is_told_from_every_other_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "schema.yaml"
    assert fingerprint(path) is None
    path.write_text("one")
    seen = [fingerprint(path)]
    path.write_text("two")
    os.utime(path, ns=(1, 1))
    seen.append(fingerprint(path))
    moved = tmp_path / "moved"
    moved.write_text("six")
    os.utime(moved, ns=(1, 1))
    moved.replace(path)
    seen.append(fingerprint(path))
    assert len({None, *seen}) == 4
    assert fingerprint(path) == seen[-1]


def test_a_link_that_is_pointed_elsewhere_is_another_file(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "schema.yaml").write_text("same")
        os.utime(tmp_path / name / "schema.yaml", ns=(1, 1))
    (tmp_path / "data").symlink_to("first")
    (tmp_path / "schema.yaml").symlink_to("data/schema.yaml")
    before = fingerprint(tmp_path / "schema.yaml")
    (tmp_path / "new").symlink_to("second")
    (tmp_path / "new").replace(tmp_path / "data")
    assert fingerprint(tmp_path / "schema.yaml") not in (None, before)


def test_files_of_code_are_found_below_their_packages(tmp_path: Path) -> None:
    (tmp_path / "web" / "__pycache__").mkdir(parents=True)
    for name in ("a.py", "web/b.py", "web/page.html", "web/__pycache__/b.cpython.py", "notes.txt"):
        (tmp_path / name).write_text("")
    found = code_fingerprints([tmp_path])
    assert {str(path.relative_to(tmp_path)) for path in found} == {"a.py", "web/b.py", "web/page.html"}
    os.utime(tmp_path / "a.py", ns=(1, 1))
    assert code_fingerprints([tmp_path]) != found
