"""A class is taken out of a file without executing it, with all that it needs; what cannot be taken is said."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from cnnkit.components import installed_catalog
from cnnkit.errors import ConfigError
from cnnkit.new_plugin import create, take
from cnnkit.testing import cases
from tests.new_plugin.test_creation import fresh, register

__all__ = ["fresh"]

NOTEBOOK = '''\
import os, numpy as np
import matplotlib.pyplot as plt
from cnnkit import Layer, Sequential
from cnnkit.plugin import Context as Surroundings, positive

FACTOR = 0.5
HIDDEN, OTHER = FACTOR * 2, 3
os.mkdir("executed")


def half(x):
    return FACTOR * x


class Base(Layer):
    lesson = ("It halves.", "For less.")


class Halved(Base):
    """Half of each number.

    Forward: y = x / 2
    """

    def __init__(self, times: float = HIDDEN) -> None:
        self.times = positive("times", times)

    def forward(self, x: np.ndarray, ctx: Surroundings):
        plot = [np.multiply(half(self.times * one), 1) for one in [x]]
        return plot[0], None

    def backward(self, dy, cache, ctx):
        return half(self.times * dy), {}


class Unrelated(Sequential):
    pass


raise SystemExit("never executed")
'''


def write(folder: Path, text: str) -> Path:
    file = folder / "notebook.py"
    file.write_text(text)
    return file


def test_a_class_comes_with_all_that_it_needs_and_nothing_else(fresh: Path) -> None:
    taken = take(write(fresh, NOTEBOOK), "Halved")
    assert (taken.kind, taken.requirements) == ("layer", ())
    assert not (fresh / "executed").exists()
    module = ast.parse(taken.source)
    defined = [one.name for one in module.body if isinstance(one, ast.ClassDef | ast.FunctionDef)]
    assert defined == ["half", "Base", "Halved", "cnnkit_layers"]
    assert "import matplotlib" not in taken.source
    assert "from cnnkit.plugin import Context as Surroundings\n" in taken.source
    assert "HIDDEN, OTHER = FACTOR * 2, 3\n" in taken.source
    create(fresh, "cnnkit-halved", taken.kind, taken)
    register(fresh, "cnnkit-halved")
    sys.path.insert(0, str(fresh / "cnnkit-halved"))
    importlib.invalidate_caches()
    installed_catalog.cache_clear()
    found = cases("cnnkit-halved")
    assert [(one.check, *one.outcome()) for one in found if one.outcome()[0] != "passed"] == []
    assert {one.component for one in found} == {"cnnkit_halved", "Halved"}


@pytest.mark.parametrize(
    ("base", "kind"),
    [
        ("cnnkit.plugin.Merge", "join"),
        ("plugin.GradientMethod", "gradient"),
        ("CollectingMetric", "metric"),
        ("Mixing", "augmentation"),
    ],
)
def test_the_kind_is_that_of_the_class_that_it_derives_from(tmp_path: Path, base: str, kind: str) -> None:
    imports = "import cnnkit\nfrom cnnkit import plugin\nfrom cnnkit.plugin import CollectingMetric, Mixing\n"
    assert take(write(tmp_path, f"{imports}class A({base}): pass\n"), "A").kind == kind


def test_other_distributions_become_requirements(tmp_path: Path) -> None:
    imports = "import json\nimport onnx.helper as h\nfrom cnnkit import Layer\n"
    assert take(write(tmp_path, f"{imports}class A(Layer):\n    def f(self): return h, json\n"), "A").requirements == (
        "onnx",
    )


LAYER = "from cnnkit import Layer\n"
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "no class": (
        f"{LAYER}class Scaled(Layer): pass",
        {"name": "Scale"},
        "has no class Scale at its top level: did you mea",
    ),
    "no classes": ("x = 1", {}, "has no class A at its top level: it has no class there"),
    "a magic": (
        "%matplotlib inline\nclass A: pass",
        {},
        "of a notebook, save the code as a .py file, without lines that",
    ),
    "not text": ("\udcff", {}, "cannot read"),
    "no kind": (
        "class A: pass",
        {},
        "A derives from nothing, which does not say what kind of component it is: add --kind",
    ),
    "another kind": (
        f"{LAYER}class A(Layer): pass",
        {"kind": "loss"},
        "A is of the kind layer by what it derives from, and -",
    ),
    "undefined": (
        f"{LAYER}class A(Layer):\n    def f(self): return gone",
        {},
        "A cannot be taken, as it uses gone, which the file does not define: import it by its name",
    ),
    "a star": (
        f"{LAYER}from os import *\nclass A(Layer):\n    def f(self): return getcwd()",
        {},
        "it uses getcwd, and imports with * do not say where it is from",
    ),
    "conditional": (
        f"{LAYER}if True:\n    x = 1\nclass A(Layer):\n    y = x",
        {},
        "it uses x, and line 2 sets it inside of another statement: define it once, at the top level",
    ),
    "twice": (f"{LAYER}x = 1\nx = 2\nclass A(Layer):\n    y = x", {}, "it uses x, and lines 2 and 3 both define it"),
    "relative": (f"{LAYER}from . import x\nclass A(Layer):\n    y = x", {}, "it uses x, of a relative import"),
    "beside": (
        f"{LAYER}from helpers import x\nclass A(Layer):\n    y = x",
        {},
        "it imports x from helpers, which lies beside the file: put that into it",
    ),
    "unknown distribution": (
        f"{LAYER}import not_installed_here as x\nclass A(Layer):\n    y = x",
        {},
        "import not_installed_here as x is of no distribution that is installed: install it first",
    ),
    "arguments": (
        f"{LAYER}class A(Layer):\n    def __init__(self, a, b=1, *, c, d=2): pass",
        {},
        "A needs a, c, so its tests could not make one: give the class examples",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_taken_is_said(case: str, tmp_path: Path) -> None:
    text, options, message = REFUSED[case]
    file = tmp_path / "notebook.py"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    (tmp_path / "helpers.py").touch()
    with pytest.raises(ConfigError) as caught:
        take(file, **{"name": "A", **options})
    assert message in str(caught.value)


def test_a_notebook_and_a_magic_line_are_said(tmp_path: Path) -> None:
    book = tmp_path / "nb.ipynb"
    book.write_text('{"cells": []}')
    with pytest.raises(ConfigError, match=r"nb\.ipynb is a notebook: save its code as a \.py file"):
        take(book, "Foo")
    file = tmp_path / "nb.py"
    file.write_text("x = 1\n%matplotlib inline\n")
    with pytest.raises(ConfigError, match=r"nb\.py cannot be read as Python: invalid syntax in line 2; of a notebook"):
        take(file, "Foo")


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*gone\.py: No such file or directory"):
        take(tmp_path / "gone.py", "A")


def test_arguments_with_examples_are_taken(tmp_path: Path) -> None:
    text = "from cnnkit.plugin import Example, Layer\nclass A(Layer):\n    examples = (Example('A(3)', (5,)),)\n"
    taken = take(write(tmp_path, f"{text}    def __init__(self, a):\n        self.a = a\n"), "A")
    assert "from cnnkit.plugin import Example" in taken.source
