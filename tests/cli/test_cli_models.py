"""`models`: what the registry holds, its aliases, and what is wrong with it."""

from __future__ import annotations

import fcntl
import io
import os
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit import Registry, Sequential
from cnnkit.cli.output import MANY, say_table


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:600])


def test_list_names_every_version_with_its_aliases(trained: Any, tmp_path: Path) -> None:
    trained("train", "tiny.toml")
    assert trained("models", "alias", "set", "tiny@1", "good").out == "tiny@good is tiny@1\n"
    trained("models", "tag", "tiny@2", "stage=candidate")
    entries = trained("models", "list", "--json").document
    assert [(entry["ref"], entry["aliases"]) for entry in entries] == [("tiny@1", ["good"]), ("tiny@2", [])]
    assert entries[1]["path"] == str(tmp_path / "registry" / "tiny" / "v000002.h5")
    assert (entries[1]["tags"], entries[1]["dataset"], entries[1]["epochs"]) == ({"stage": "candidate"}, "Digits()", 1)
    heading, first, second = trained("models", "list").out.splitlines()
    assert heading.split() == ["reference", "aliases", "created", "dataset", "metric", "tags", "digest"]
    assert first.split()[:2] == ["tiny@1", "good"]
    accuracy = f"accuracy {entries[1]['metrics']['accuracy']:.4g}"
    created = entries[1]["created"][:16].replace("T", " ")
    columns = ["tiny@2", created, "Digits()", accuracy, "stage=candidate", entries[1]["digest"][:12]]
    assert re.split(r"  +", second) == columns  # whole, though COLUMNS is 40


def test_list_shows_what_meets_the_conditions(trained: Any, tmp_path: Path) -> None:
    trained("train", "tiny.toml", "--seed", "1")
    entries = trained("models", "list", "--json", "--where", "seed=1 and train.optimizer~sgd").document
    assert [entry["ref"] for entry in entries] == ["tiny@2"]
    assert [entry["ref"] for entry in trained("models", "list", "--json", "--name", "tiny").document] == [
        "tiny@1",
        "tiny@2",
    ]
    none = trained("models", "list", "--where", "accuracy>2")
    assert (none.code, none.out, none.err) == (0, "", "no version matches the conditions\n")
    wrong = trained("models", "list", "--where", "acuracy>0.9")
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err == "error: no version has the field 'acuracy': did you mean accuracy?\n"
    _cut(tmp_path / "registry" / "tiny" / "v000001.h5")
    assert trained("models", "list").out.splitlines()[1].split()[:4] == ["tiny@1", "it", "is", "damaged:"]
    assert trained("models", "list", "--json").document[0]["damaged"]


def test_a_table_of_thousands_is_aligned_too(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    say_table(("name", "n"), [(f"é{'x' * (i % 7)}", i) for i in range(MANY + 1)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == MANY + 2
    assert {len(line) for line in lines} == {13}
    say_table(("a",), [("one\ntwo",)])


def test_list_of_a_registry_without_models(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    result = cli("models", "list")
    assert (result.code, result.out) == (0, "")
    assert "is empty; `cnnkit train` registers a first model" in result.err


def test_show_says_what_a_version_is(trained: Any) -> None:
    result = trained("models", "show", "tiny@latest")
    assert result.code == 0
    for line in (
        "reference      tiny@1\n",
        "dataset        Digits()\n",
        "epochs         1\n",
        "  Dense(10)\n",
        "cores  ",
    ):
        assert line in result.out
    document = trained("models", "show", "tiny@1", "--json").document
    assert document["layers"] == ["Flatten()", "Dense(10)"]
    assert (document["dataset"]["name"], document["input_shape"]) == ("Digits()", [1, 8, 8])


@pytest.mark.parametrize(
    ("settings", "ended"),
    [
        ({"reason": "stopped by the user", "partial_steps": 1},
         "stopped by the user, with 1 step of a further epoch in the weights"),
        ({"reason": "accuracy has reached 1"}, "accuracy has reached 1"),
        ({"partial_steps": 1200}, "with 1,200 steps of a further epoch in the weights"),
        ({}, None),
        ({"reason": 3, "partial_steps": "many"}, None),
    ],
    ids=["stopped", "a callback", "an older file", "all epochs done", "anything"],
)  # fmt: skip
def test_show_says_how_a_training_ended(cli: Any, settings: dict[str, Any], ended: str | None) -> None:
    Registry().save(Sequential(["Dense(2)"], (3,)), "mine", settings=settings)
    found = re.search(r"^ended +(.*)$", cli("models", "show", "mine@1").out, re.MULTILINE)
    assert (found and found[1]) == ended


def test_an_alias_is_set_used_and_removed(trained: Any) -> None:
    trained("models", "alias", "set", "tiny@1", "good")
    assert trained("evaluate", "tiny@good", "--json").document["ref"] == "tiny@1"
    refused = trained("models", "delete", "tiny@1", "--yes")
    assert refused.code == 2
    assert "tiny@1 cannot be deleted while the alias good points to it" in refused.err
    asked = trained("models", "alias", "remove", "tiny", "good")
    assert (asked.code, asked.out) == (2, "")
    assert asked.err == (
        "error: this would remove tiny@good, which is tiny@1, but there is no terminal to ask for confirmation: add "
        "--yes to do it\n"
    )
    assert trained("models", "alias", "remove", "tiny", "good", "--yes").out == "removed tiny@good\n"
    assert "tiny has no alias 'good'" in trained("evaluate", "tiny@good").err
    assert "tiny has no alias 'good'" in trained("models", "alias", "remove", "tiny", "good", "--yes").err


def test_an_alias_moves_only_if_the_user_agrees(trained: Any) -> None:
    trained("train", "tiny.toml")
    for _ in range(2):  # the second time it is where it is
        assert trained("models", "alias", "set", "tiny@1", "good").code == 0
    refused = trained("models", "alias", "set", "tiny@2", "good")
    assert refused.code == 2
    assert "this would move tiny@good from tiny@1 to tiny@2, but there is no terminal" in refused.err
    moved = trained("models", "alias", "set", "tiny", "good", "--yes", "--json").document
    assert moved == {"alias": "good", "ref": "tiny@2", "require": "none"}


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("YES\n", 0), ("n\n", 1), ("\n", 1), ("", 1)])
def test_at_a_terminal_the_user_is_asked(trained: Any, monkeypatch: pytest.MonkeyPatch, answer: str, code: int) -> None:
    stdin = io.StringIO(answer)
    monkeypatch.setattr(stdin, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", stdin)
    result = trained("models", "delete", "tiny@1")
    assert result.code == code
    assert re.match(
        r"warning: this will delete tiny@1 \(.*v000001.h5\) and its notes permanently\ncontinue\? \[y/N\]\n", result.err
    )
    assert result.err.endswith("error: nothing was done\n") == bool(code)
    assert trained("models", "show", "tiny@1").code == (0 if code else 2)


def test_delete_asks(trained: Any, tmp_path: Path) -> None:
    refused = trained("models", "delete", "tiny@1")
    assert refused.code == 2
    assert (
        "and its notes permanently, but there is no terminal to ask for confirmation: add --yes to do it" in refused.err
    )
    assert trained("evaluate", "tiny@1").code == 0
    assert trained("models", "delete", "tiny@latest", "--yes").out == "deleted tiny@1\n"
    gone = trained("evaluate", "tiny@1")
    assert (gone.code, "tiny@1 was deleted" in gone.err) == (2, True)
    assert trained("train", "tiny.toml", "--json").document["ref"] == "tiny@2"
    document = trained("models", "delete", "tiny@2", "--yes", "--json").document
    assert (document["deleted"], document["path"]) == ("tiny@2", str(tmp_path / "registry" / "tiny" / "v000002.h5"))
    empty = trained("models", "list", "--name", "tiny")
    assert (empty.code, empty.err) == (0, "the model tiny has no versions left\n")


def test_a_description_is_printed_written_and_removed(trained: Any) -> None:
    none = trained("models", "describe", "tiny")
    assert (none.code, none.out, none.err) == (0, "", "tiny@1 has no description\n")
    assert trained("models", "describe", "tiny@1", "the first \x1b[31mone").out == "described tiny@1\n"
    assert trained("models", "describe", "tiny@1").out == "the first \\x1b[31mone\n"
    assert "description    the first \\x1b[31mone\n" in trained("models", "show", "tiny@1").out
    assert trained("models", "describe", "tiny", "other", "--json").document == {
        "ref": "tiny@1",
        "description": "other",
    }
    asked = trained("models", "describe", "tiny@1", "")
    assert (asked.code, "this would remove the description of tiny@1" in asked.err) == (2, True)
    assert trained("models", "describe", "tiny@1", "", "--yes").out == "removed the description of tiny@1\n"
    assert trained("models", "describe", "tiny@1", "--json").document["description"] == ""


def test_tags_are_set_printed_and_removed(trained: Any) -> None:
    assert trained("models", "tag", "tiny").err == "tiny@1 has no tags\n"
    assert trained("models", "tag", "tiny", "stage=candidate", "owner=a=b").out == "owner  a=b\nstage  candidate\n"
    assert "tags           owner=a=b, stage=candidate\n" in trained("models", "show", "tiny").out
    refused = trained("models", "tag", "tiny", "--remove", "stage")
    assert refused.code == 2
    assert "this would remove 1 tag of tiny@1: stage, but there is no terminal" in refused.err
    document = trained("models", "tag", "tiny", "--remove", "stage", "--yes", "--json").document
    assert document == {"ref": "tiny@1", "tags": {"owner": "a=b"}}
    for wrong in ("stage", "=x", "stage="):
        result = trained("models", "tag", "tiny", "good=1", wrong)
        assert result.code == 2
        assert "expected a tag as KEY=VALUE, such as stage=candidate, got" in result.err
    assert trained("models", "tag", "tiny", "--json").document["tags"] == {"owner": "a=b"}


def test_show_warns_of_a_damaged_note_and_shows_the_rest(trained: Any, tmp_path: Path) -> None:
    (tmp_path / "registry" / "tiny" / "v000001.verdict").write_text("{")
    result = trained("models", "show", "tiny@1")
    assert result.code == 0
    assert "validation     never\n" in result.out
    assert f"warning: the verdict {tmp_path / 'registry' / 'tiny' / 'v000001.verdict'} is damaged" in result.err


def test_verify_finds_a_flipped_bit(trained: Any, tmp_path: Path) -> None:
    good = trained("models", "verify")
    assert (good.code, "everything is as it was registered" in good.out) == (0, True)
    path = tmp_path / "registry" / "tiny" / "v000001.h5"
    _flip(path)
    bad = trained("models", "verify", "tiny")
    assert bad.code == 1
    assert f"{path}: " in bad.out
    assert f"error: 1 problem in the registry at {tmp_path / 'registry'}" in bad.err
    document = trained("models", "verify", "--json").document
    assert (document["ok"], document["problems"][0]["path"]) == (False, str(path))


def test_gc_removes_what_killed_processes_left(trained: Any, tmp_path: Path) -> None:
    assert trained("models", "gc").out == ""
    dead = tmp_path / "registry" / "tiny" / f".tmp-{'0' * 32}"
    dead.touch()
    refused = trained("models", "gc")
    assert refused.code == 2
    assert f"this would remove 1 file: {dead}, but there is no terminal" in refused.err
    assert dead.exists()
    removed = trained("models", "gc", "--yes", "--json")
    assert (removed.code, removed.document) == (0, {"removed": [str(dead)]})
    dead.touch()
    assert trained("models", "gc", "--yes").out == f"removed {dead}\n"
    assert not dead.exists()
    assert trained("evaluate", "tiny@1").code == 0


def test_a_damaged_version_is_refused(trained: Any, tmp_path: Path) -> None:
    path = tmp_path / "registry" / "tiny" / "v000001.h5"
    _flip(path)
    for command in (("evaluate", "tiny@1"), ("export", "tiny@1"), ("models", "show", "tiny@1")):
        result = trained(*command)
        assert (result.code, result.out) == (2, "")
        assert f"error: tiny@1 cannot be used, {path} is damaged" in result.err


def test_a_deletion_asks_which_version(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trained("train", "tiny.toml", "--seed", "1")
    for arguments in ((), ("--yes",)):
        result = trained("models", "delete", "tiny", *arguments)
        assert (result.code, result.out) == (2, "")
        asked = "which version should be deleted? tiny has 2 versions: 1, 2; name it, as in tiny@2"
        assert result.err == f"error: {asked}\n"
    for answer, expected in (("7\n", "expected one of these numbers, got '7': nothing was deleted"), ("1\ny\n", "")):
        terminal = io.StringIO(answer)
        monkeypatch.setattr(terminal, "isatty", lambda: True)
        monkeypatch.setattr("sys.stdin", terminal)
        result = trained("models", "delete", "tiny")
        assert "tiny has 2 versions: 1, 2; which one should be deleted?" in result.err
        assert expected in result.err
    assert result.out == "deleted tiny@1\n"
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert trained("models", "delete", "tiny@2", "--yes").code == 0
    assert "tiny has 0 versions; name it, as in tiny@1" in trained("models", "delete", "tiny").err


def test_a_tilde_is_the_home_folder_in_every_path(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "x.npy", np.zeros((1, 8, 8), np.float32))
    for arguments in (
        ("train", "~/tiny.toml", "--dry-run"),
        ("export", "tiny@1", "--output=~/a.onnx"),
        ("validate", "~/a.onnx", "tiny@1"),
        ("predict", "tiny@1", "~/x.npy"),
        ("explain", "tiny@1", "--image=~/x.npy", "--output=~/a.html"),
        ("models", "export-bundle", "tiny@1", "--output=~/a.zip"),
        ("models", "import", "~/a.zip", "--registry=~/other"),
    ):
        result = trained(*arguments)
        assert result.code == 0, (arguments, result.err)
    assert {"a.onnx", "a.html", "a.zip", "other"} <= {path.name for path in tmp_path.iterdir()}
    assert not (Path.cwd() / "~").exists()


def test_a_wait_is_one_line(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkit.registry.files.TOLD", 0.02)
    monkeypatch.setattr("cnnkit.registry.files.PATIENCE", 0.1)
    lock = os.open("registry/tiny", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            result = trained("models", "alias", "set", "tiny@1", "best")
    finally:
        os.close(lock)
    assert (result.code, result.out) == (2, "")
    first, second = result.err.splitlines()
    folder = Path("registry/tiny").absolute()
    assert first == f"warning: waiting for another process that holds the lock of {folder}"
    assert second.startswith(
        f"error: another process has held the lock of {folder} for 0.1 seconds: nothing was changed;"
    )
