"""References and names."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnnkit import Registry
from cnnkit.errors import RegistryError
from cnnkit.registry import references
from cnnkit.registry.references import Reference


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("digits", Reference("digits", "latest")),
        ("digits@latest", Reference("digits", "latest")),
        ("digits@3", Reference("digits", 3)),
        ("my-net.v2_x@champion", Reference("my-net.v2_x", "champion")),
        ("a@2nd", Reference("a", "2nd")),
    ],
)
def test_references_are_read(written: str, expected: Reference) -> None:
    assert references.parse(written) == expected


@pytest.mark.parametrize(
    "written",
    ["..", "a..b", ".hidden", "Digits", "", "a\n", "a" * 65, "-a", "ä", "a\0", "@3"],
)
def test_what_is_no_name_is_refused(written: str) -> None:
    with pytest.raises(RegistryError, match="a model is named with 1 to 64 lower-case letters"):
        references.parse(written)


def test_a_path_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("IMG.png").touch()
    Path("model.onnx").touch()
    for written in ("../../etc", "/etc/none", "a/b", "registry/digits/v000001.h5"):
        with pytest.raises(RegistryError, match="is a path, and a model is named by a reference, NAME@VERSION"):
            references.parse(written)
    for written in ("IMG.png", "model.onnx"):
        with pytest.raises(RegistryError, match=f"^{written} is a file, and a model is named by a reference"):
            Registry("registry").load(written)


@pytest.mark.parametrize("which", ["", "0", "03", "-1", "../x", "a/b", "A", "1@2", "1" * 10, "\u0663"])
def test_what_is_no_version_is_refused(which: str) -> None:
    with pytest.raises(RegistryError, match="expected a version number, 'latest' or an alias after the @"):
        references.parse(f"digits@{which}")


def test_a_reference_is_text() -> None:
    with pytest.raises(RegistryError, match="expected a reference as text"):
        references.parse(3)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("alias", ["latest", "7", "007", "../x", "X", "", 3])
def test_aliases_have_names_that_no_number_and_no_latest_can_be_taken_for(alias: str) -> None:
    with pytest.raises(RegistryError, match="an alias is named like a model, but not 'latest'"):
        references.check_alias(alias)


def test_choices() -> None:
    assert references.choices("digit", ["digits", "faces"], "none") == "did you mean digits?"
    assert references.choices("x", ["digits"], "none") == "there is digits"
    assert references.choices("x", [], "it is empty") == "it is empty"
    assert references.choices("x", map(str, range(100, 112)), "").endswith("109 and 2 more")
