"""Tables that are narrower than their cells."""

from __future__ import annotations

import pytest

from cnnkit.table_layout import Column, fitted

LONG = "/data/" + "x" * 40


def table(columns: dict[str, list[str]], width: int, *least: str) -> tuple[str, list[str]]:
    numbers = {heading for heading, cells in columns.items() if all(cell.replace(".", "").isdigit() for cell in cells)}
    parts, left_out = fitted([Column(name, cells, name in numbers) for name, cells in columns.items()], width, least)
    return "\n\n".join("\n".join([*part.headings, *part.rows]) for part in parts), left_out


def test_what_fits_is_not_changed() -> None:
    assert table({"name": ["a", "bcd"], "n": ["1", "10"], "none": ["", ""]}, 15) == (
        "name   n  none\na      1\nbcd   10",
        [],
    )


def test_first_go_columns_without_values() -> None:
    assert table({"name": ["a"], "none": [""], "n": ["1"]}, 10) == ("name  n\na     1", [])


def test_then_long_texts_are_folded() -> None:
    columns = {"name": ["a"], "about": ["a text that is long enough to be folded"], "n": ["1"]}
    assert table(columns, 29, "n") == (
        "name  about                 n\n"
        "a     a text that is long   1\n"
        "      enough to be folded",
        [],
    )  # fmt: skip


def test_then_what_is_least_needed_is_left_out_before_a_short_text_is_folded() -> None:
    columns = {"name": ["abcdef"], "time": ["12 November 9:30"], "digest": ["0123456789"], "n": ["1"]}
    assert table(columns, 30, "n", "digest") == ("name    time\nabcdef  12 November 9:30", ["n", "digest"])
    assert table(columns, 20, "n", "digest") == ("name    time\nabcdef  12 November\n        9:30", ["n", "digest"])


def test_then_long_words_stand_on_lines_of_their_own() -> None:
    columns = {"file": [LONG, "b.png"], "n": ["7", "8"], "label": ["cat", "dog"]}
    assert table(columns, 30) == (
        "file                  n  label\n"
        f"{LONG}\n"
        "                      7  cat\n"
        "b.png                 8  dog",
        [],
    )  # fmt: skip
    columns = {"key": ["a", "b"], "before": [LONG, "1 2"], "after": [LONG, "1"]}
    assert table(columns, 30) == (f"key  before       after\na\n  {LONG}\n  {LONG}\nb    1 2          1", [])


def test_in_the_end_the_table_goes_on_below_itself() -> None:
    columns = {"true class": ["a", "b"]} | {f"{n}00": ["1000", "2000"] for n in range(1, 6)}
    assert table(columns, 20) == (
        "true\nclass      100   200\na         1000  1000\nb         2000  2000\n\n"
        "true\nclass      300   400\na         1000  1000\nb         2000  2000\n\n"
        "true class   500\na           1000\nb           2000",
        [],
    )


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_nothing_is_lost_and_nothing_sticks_out(width: int) -> None:
    names = ["name", "what it is about", "shape", "number of samples", "share", "most confused with"]
    cells = [["first", "x" * 50], ["some words " * 6] * 2, ["1 x 2"] * 2, ["1000"] * 2, ["0.5"] * 2, ["dog (3)", ""]]
    shown, left_out = table(dict(zip(names, cells, strict=True)), width)
    assert not left_out
    assert set(shown.split()) == {word for texts in [names, *cells] for text in texts for word in text.split()}
    assert all(len(line) <= width or line == "x" * 50 for line in shown.split("\n"))


def test_a_table_without_rows_and_one_without_room() -> None:
    assert table({"name": [], "n": []}, 40) == ("name  n", [])
    shown, _ = table({"a" * 50: ["1"], "b" * 50: ["2"]}, 40)
    assert set(shown.split()) == {"a" * 50, "b" * 50, "1", "2"}
