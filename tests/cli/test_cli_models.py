"""`models`: what the registry holds, its aliases, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_list_names_every_version_with_its_aliases(trained: Any, tmp_path: Path) -> None:
    trained("train", "tiny.toml")
    assert trained("models", "alias", "tiny@1", "good").out == "tiny@good is tiny@1\n"
    entries = trained("models", "list", "--json").document
    assert [(entry["ref"], entry["aliases"]) for entry in entries] == [("tiny@1", ["good"]), ("tiny@2", [])]
    plain = trained("models", "list").out
    assert str(tmp_path / "registry" / "tiny" / "v000002.h5") in plain  # whole, though COLUMNS is 40


def test_list_of_a_registry_without_models(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    result = cli("models", "list")
    assert (result.code, result.out) == (0, "")
    assert "is empty; `cnnkit train` registers a first model" in result.err


def test_show_says_what_a_version_is(trained: Any) -> None:
    result = trained("models", "show", "tiny@latest")
    assert result.code == 0
    for line in ("reference      tiny@1\n", "dataset        Digits()\n", "epochs         1\n", "  Dense(10)\n"):
        assert line in result.out
    document = trained("models", "show", "tiny@1", "--json").document
    assert document["layers"] == ["Flatten()", "Dense(10)"]
    assert (document["dataset"]["name"], document["input_shape"]) == ("Digits()", [1, 8, 8])


def test_an_alias_is_set_used_and_removed(trained: Any) -> None:
    trained("models", "alias", "tiny@1", "good")
    assert trained("evaluate", "tiny@good", "--json").document["ref"] == "tiny@1"
    refused = trained("models", "delete", "tiny@1", "--yes")
    assert refused.code == 2
    assert "tiny@1 cannot be deleted while the alias good points to it" in refused.err
    assert trained("models", "alias", "tiny", "good", "--remove").out == "removed tiny@good\n"
    assert "tiny has no alias 'good'" in trained("evaluate", "tiny@good").err


def test_delete_asks_for_yes(trained: Any, tmp_path: Path) -> None:
    refused = trained("models", "delete", "tiny@1")
    assert refused.code == 2
    assert "would be deleted for ever: add --yes to do it" in refused.err
    assert trained("evaluate", "tiny@1").code == 0
    assert trained("models", "delete", "tiny@latest", "--yes").out == "deleted tiny@1\n"
    gone = trained("evaluate", "tiny@1")
    assert (gone.code, "tiny@1 was deleted" in gone.err) == (2, True)
    assert trained("train", "tiny.toml", "--json").document["ref"] == "tiny@2"


def test_verify_finds_a_flipped_bit(trained: Any, tmp_path: Path) -> None:
    good = trained("models", "verify")
    assert (good.code, "everything is as it was registered" in good.out) == (0, True)
    path = tmp_path / "registry" / "tiny" / "v000001.h5"
    _flip(path)
    bad = trained("models", "verify", "tiny")
    assert bad.code == 1
    assert f"{path}: " in bad.out
    assert f"error: 1 problem in the registry {tmp_path / 'registry'}" in bad.err
    document = trained("models", "verify", "--json").document
    assert (document["ok"], document["problems"][0]["path"]) == (False, str(path))


def test_gc_removes_what_killed_processes_left(trained: Any, tmp_path: Path) -> None:
    assert trained("models", "gc").out == ""
    dead = tmp_path / "registry" / "tiny" / f".tmp-{'0' * 32}"
    dead.touch()
    removed = trained("models", "gc", "--json")
    assert (removed.code, removed.document) == (0, {"removed": [str(dead)]})
    dead.touch()
    assert trained("models", "gc").out == f"removed {dead}\n"
    assert not dead.exists()
    assert trained("evaluate", "tiny@1").code == 0


def test_a_damaged_version_is_refused(trained: Any, tmp_path: Path) -> None:
    path = tmp_path / "registry" / "tiny" / "v000001.h5"
    _flip(path)
    for command in (("evaluate", "tiny@1"), ("export", "tiny@1"), ("models", "show", "tiny@1")):
        result = trained(*command)
        assert (result.code, result.out) == (2, "")
        assert f"error: tiny@1 cannot be used, {path} is damaged" in result.err
