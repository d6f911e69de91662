"""The common look: text from anywhere, type that can be read, colours that can be told apart."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from cnnkit.plotting.style import CYCLE, DPI, SLIDE, class_names, look, new_figure, plain, wrapped

pytest.importorskip("matplotlib")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("$x$", "$x$"),
        (r"\frac{$a$", r"\frac{$a$"),
        (r"\$", r"\$"),
        ("a\nb\x1b", r"a\nb\x1b"),
        ("\u202e", r"\u202e"),
        ("日", r"\u65e5"),
        ("é ü ✓ ±", "é ü ✓ ±"),
        ("", ""),
        ("a" * 70, "a" * 59 + "…"),
        ("日" * 30, r"\u65e5" * 9 + "…"),
    ],
)
def test_a_text_is_shown_letter_by_letter(text: str, shown: str) -> None:
    from matplotlib.text import Text

    made, is_formula = Text(0, 0, plain(text))._preprocess_math(plain(text))  # type: ignore[attr-defined]  # matplotlib's own, private
    assert (made, is_formula) == (shown, False)


def test_classes_without_labels_are_called_by_their_indices() -> None:
    assert class_names([], 3) == ["0", "1", "2"]
    assert class_names(["a$", "b" * 40], 2, 5) == ["a\\$", "bbbb…"]


def test_names_that_begin_alike_are_told_apart_within_their_width() -> None:
    labels = [f"class number {i}" for i in range(12)]
    names = class_names([*labels, "dog"], 13, 13)
    assert names[:2] == ["0 class numb…", "1 class numb…"]
    assert names[11:] == ["11 class num…", "dog"]
    assert len(set(names)) == 13
    assert all(len(name) <= 13 for name in names)


def test_a_slide_has_its_size_and_a_long_title_two_lines() -> None:
    with look():
        figure: Any = new_figure("word " * 24)
    assert tuple(figure.get_size_inches() * DPI) == pytest.approx((1600, 900))
    assert SLIDE[0] / SLIDE[1] == pytest.approx(16 / 9)
    assert figure.get_suptitle().count("\n") == 1
    assert figure._suptitle.get_fontsize() == 18


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("x" * 76, ["x" * 76]),
        (
            f"net@1: {'x' * 50} wrong (2.50%), the most of them",
            [f"net@1: {'x' * 50} wrong (2.50%),", "the most of them"],
        ),
        (f"Conv2D(8, 3, {'x' * 60}, 9)", ["Conv2D(8, 3,", f"{'x' * 60}, 9)"]),
        (f"run on A(({'x' * 60}, 9)): 6 of 6 right", [f"run on A(({'x' * 60}, 9)):", "6 of 6 right"]),
        ("y" * 100, ["y" * 76, "y" * 24]),
        ("word " * 20 + "word", [("word " * 11).strip(), ("word " * 10).strip()]),
    ],
)
def test_a_long_title_ends_its_first_line_where_it_can(title: str, shown: list[str]) -> None:
    assert wrapped(title).split("\n") == shown


def test_the_users_own_settings_do_not_matter() -> None:
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 3, "figure.facecolor": "black"}):
        with look():
            figure: Any = new_figure("title")
        assert figure.get_facecolor() == (1, 1, 1, 1)
        assert mpl.rcParams["font.size"] == 3


def test_colours_are_those_of_okabe_and_ito() -> None:
    palette = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}
    assert set(CYCLE) <= palette
    assert len(set(CYCLE)) == 7


def test_pyplot_is_never_loaded_and_matplotlib_only_to_draw() -> None:
    code = (
        "import sys\n"
        "import cnnkit.evaluation.plot, cnnkit.plotting.confusion, cnnkit.plotting.comparison, cnnkit.cli.plot\n"
        "print('matplotlib' in sys.modules)\n"
        "import numpy\n"
        "cnnkit.plotting.confusion.draw_confusion(numpy.eye(2, dtype=int), [], 'net@1')\n"
        "print('matplotlib' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False"]
