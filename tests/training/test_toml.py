"""Recipes from anybody: no file and no text takes long, much memory, or the stack."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cnnkit.errors import RecipeError
from cnnkit.file_reading import read_plain
from cnnkit.training.recipe import MAX_RECIPE_BYTES, Recipe, load_recipe
from cnnkit.training.toml import MAX_DEPTH, MAX_PARTS, read_toml

LONG = 200_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a" + ".a" * LONG + " = 1", "expected keys of at most 16 parts"),
        ('a."b.c"' + " . a" * LONG + " = 1", "expected keys of at most 16 parts"),
        ("[a" + ".a" * LONG + "]", "expected keys of at most 16 parts"),
        ("x = {a" + ".a" * LONG + " = 1}", "expected keys of at most 16 parts"),
        ("a = " + "[" * LONG, "expected values that nest at most 32 deep"),
        ("a = " + "{a=" * LONG, "expected values that nest at most 32 deep"),
        ("[a]\n" * 10_001, "expected at most 10,000 points and opening brackets, it has 10,001"),
        ("".join(f"[a.b{i}.c.d]\n" for i in range(60_000)), "it has 240,000"),
        ("".join(f"a{i} = {{}}\n" for i in range(60_000)), "it has 60,000"),
        ("a = 0x" + "f" * LONG, "expected whole numbers of at most 64 bits, it has one of 800,000"),
        ("a = [{b = 0x" + "f" * 17 + "}]", "expected whole numbers of at most 64 bits, it has one of 68"),
        ('a = "' + '\\"' * LONG, "Unterminated string"),
        ('a = """' + '\\"' * LONG, "Unterminated string"),
        ("a" * LONG, "Expected '='"),
        ("a" + " " * LONG + "b", "Expected '='"),
        ("\0" * LONG, "Invalid statement"),
    ],
)
def test_what_would_take_long_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_toml(text)


def test_what_is_in_strings_and_comments_is_no_structure() -> None:
    dots, brackets = "a." * 2 * MAX_PARTS, "[{" * MAX_DEPTH
    text = f"""\
# {dots} {brackets} "
a = "{dots}{brackets} \\" # '"
b = '{dots}{brackets} \\'
c = \"\"\"{dots}\n{brackets} \\"\\"\\" \"\"\"
d = '''{dots}\n{brackets} "'''
"{dots}" = {"[" * (MAX_DEPTH)}{"]" * (MAX_DEPTH)}
"""
    values = read_toml(text)
    assert list(values) == ["a", "b", "c", "d", dots]
    assert values["c"] == f'{dots}\n{brackets} """ '
    assert read_toml(".".join("a" * MAX_PARTS) + " = -9223372036854775808")


def test_a_file_of_the_system_that_waits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as /proc/kmsg, which says that it is a plain file."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    path = tmp_path / "waits.toml"
    path.touch()
    status = path.stat()
    monkeypatch.setattr(os, "open", lambda *_: read)
    monkeypatch.setattr(os, "fstat", lambda _: status)
    with pytest.raises(OSError, match="expected a plain file, this is a pipe that waits for a writer"):
        read_plain(path, 10)
    monkeypatch.undo()
    os.close(write)


def test_a_recipe_that_is_no_plain_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    os.symlink("/dev/zero", tmp_path / "zero.toml")
    for name in ("pipe.toml", "zero.toml"):
        with pytest.raises(RecipeError, match=f"^cannot read the recipe .*{name}: expected a plain file, this is a p"):
            load_recipe(tmp_path / name)
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(RecipeError, match=r"^cannot read the recipe .*folder\.toml: Is a directory"):
        load_recipe(tmp_path / "folder.toml")


def test_a_recipe_has_at_most_a_mebibyte(tmp_path: Path) -> None:
    path = tmp_path / "large.toml"
    path.write_bytes(b"#" * (MAX_RECIPE_BYTES + 1))
    with pytest.raises(RecipeError, match="expected at most 1,048,576 bytes, it has 1,048,577"):
        load_recipe(path)
    path.write_bytes(b"#" * MAX_RECIPE_BYTES)
    with pytest.raises(RecipeError, match="cannot be used:"):
        load_recipe(path)


def test_of_many_problems_the_first_are_told() -> None:
    with pytest.raises(RecipeError) as error:
        Recipe.from_toml("".join(f"[t{i}]\n" for i in range(1000)), "many.toml")
    lines = str(error.value).splitlines()
    assert (len(lines), lines[-1]) == (22, "  and 983 more")
