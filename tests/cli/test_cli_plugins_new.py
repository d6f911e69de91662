"""`plugins new`: what it writes and says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cnnkit.new_plugin import KINDS


def test_a_plugin_is_begun_in_a_new_folder(cli: Any, tmp_path: Path) -> None:
    result = cli("plugins", "new", "cnnkit-glow", "--kind", "loss")
    assert (result.code, result.err) == (0, "")
    assert result.out.endswith('\nnext:\n  cd cnnkit-glow && pip install -e ".[test]" && pytest\n')
    for line in result.out.splitlines()[:-2]:
        assert (tmp_path / line).is_file()
    again = cli("plugins", "new", "cnnkit-glow", "--kind", "loss")
    assert (again.code, again.out) == (2, "")
    assert again.err == "error: cannot write cnnkit-glow: it exists already; choose another name, or remove it\n"


def test_a_class_is_taken_over(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "notebook.py").write_text("from cnnkit import Layer\nclass Same(Layer): pass\n")
    document = cli("plugins", "new", "cnnkit-same", "--from", "notebook.py:Same", "--json").document
    assert (document["name"], document["kind"]) == ("cnnkit-same", "layer")
    assert "class Same(Layer): pass" in (tmp_path / "cnnkit-same/cnnkit_same/__init__.py").read_text()


def test_what_is_missing_is_said(cli: Any) -> None:
    assert "error: --kind: expected one of layer, join, optimizer" in cli("plugins", "new", "cnnkit-x").err
    wrong = cli("plugins", "new", "cnnkit-x", "--from", "notebook.py")
    assert wrong.code == 2
    assert wrong.err.startswith(
        "error: --from: expected a file and a class, such as notebook.py:MyLayer, got 'notebook"
    )


def test_the_help_names_every_kind(cli: Any) -> None:
    said = " ".join(cli("plugins", "new", "--help").out.replace("\n", " ").split())
    assert f"{', '.join(list(KINDS)[:-1])} or {list(KINDS)[-1]}" in said
