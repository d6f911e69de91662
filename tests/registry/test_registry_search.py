"""Listing many versions quickly, and finding those that meet conditions."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from cnnkit.errors import ConfigError, RegistryError
from cnnkit.network import Sequential
from cnnkit.registry import Files, Registry, facts

TRAININGS: list[dict[str, Any]] = [
    {"metrics": {"accuracy": 0.9, "loss": 0.5}, "dataset": "MNIST()", "optimizer": "SGD(0.1)"},
    {"metrics": {"accuracy": 0.99, "loss": 0.1}, "dataset": "cnnkit:MNIST()", "optimizer": "Adam(0.001)"},
    {"metrics": {"loss": 0.2}, "dataset": 'Arrays("a b.npz")', "optimizer": "Adam(0.1, 0.9)"},
]


@pytest.fixture
def saved(registry: Registry) -> Registry:
    for i, training in enumerate(TRAININGS):
        registry.save(
            Sequential(["Dense(2)"], (3,), seed=i),
            "net",
            metrics=training["metrics"],
            dataset={"name": training["dataset"], "digest": "0"},
            recipe={"train": {"optimizer": training["optimizer"], "epochs": i, "metrics": ["Accuracy()"], "x": True}},
            history={"loss": [0.5] * i},
        )
    registry.save(Sequential(["Dense(1)"], (1,)), "other")
    registry.set_tag("net@2", "stage", "candidate")
    return registry


def refs(registry: Registry, where: str, name: str | None = None) -> list[str]:
    return [entry.version.ref for entry in registry.search(where, name)]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("", "net@1 net@2 net@3 other@1"),
        ("accuracy>0.98", "net@2"),
        ("accuracy>=0.9 and loss<0.5", "net@2"),
        ("accuracy != 0.9", "net@2 net@3 other@1"),
        ("accuracy=0.9", "net@1"),
        ("accuracy=9e-1", "net@1"),
        ("dataset=mnist", "net@1 net@2"),
        ("dataset=MNIST()", "net@1"),
        ("dataset!=mnist", "net@3 other@1"),
        ("dataset~NIST", "net@1 net@2"),
        ('dataset=Arrays("a b.npz") and seed=2', "net@3"),
        ("dataset=arrays", "net@3"),
        ("name=other", "other@1"),
        ("version<=2 and name=net", "net@1 net@2"),
        ("created>2026", "net@1 net@2 net@3 other@1"),
        ("created<2026", ""),
        ("tag.stage=candidate", "net@2"),
        ("tag.stage!=candidate", "net@1 net@3 other@1"),
        ("tag.other=x", ""),
        ("seed=1", "net@2"),
        ("epochs>=1 and epochs<2", "net@2"),
        ("parameters=8", "net@1 net@2 net@3"),
        ("train.optimizer~adam", "net@2 net@3"),
        ("train.optimizer='Adam(0.1, 0.9)'", "net@3"),
        ("train.optimizer=Adam(0.1, 0.9) and loss>0", "net@3"),
        ("train.metrics~accuracy", "net@1 net@2 net@3"),
        ("train.x=true", "net@1 net@2 net@3"),
        ("train.epochs=2", "net@3"),
    ],
)
def test_conditions(saved: Registry, where: str, expected: str) -> None:
    assert refs(saved, where) == expected.split()


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("acuracy>0.9", "no version has the field 'acuracy': did you mean accuracy?"),
        ("train.optimiser=x", "no version has the field 'train.optimiser': did you mean train.optimizer"),
        ("accuracy>high", "the field accuracy is a number: expected one after >, got 'high'"),
        (
            "accuracy",
            "cannot read the condition 'accuracy': expected a field, one of the operators = != < <= > >= ~ and",
        ),
        ("accuracy==0.9", "cannot read the condition 'accuracy==0.9'"),
        ("seed=0 and accuracy", "cannot read the condition 'accuracy'"),
        ("seed=0 or seed=1", "the field seed is a number: expected one after =, got '0 or seed=1'"),
        (">3", "cannot read the condition '>3'"),
        ("seed=0 and", "the field seed is a number: expected one after =, got '0 and'"),
    ],
)
def test_wrong_conditions_are_explained(saved: Registry, where: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        saved.search(where)
    assert message in str(caught.value)


def test_one_model_is_listed(saved: Registry) -> None:
    assert refs(saved, "loss>0.1", "net") == ["net@1", "net@3"]
    with pytest.raises(RegistryError, match="there is no model 'nets'"):
        saved.search(name="nets")
    saved.delete("other@1")
    assert saved.search(name="other") == []
    assert saved.search("anything=1", "other") == []


class Counting(Files):
    """Counts the version files that are read, and fails to write the facts."""

    def __init__(self) -> None:
        self.read_versions = 0

    def read(self, path: Path, most: int, *, whole: bool = True, **options: Any) -> bytes:
        self.read_versions += path.suffix == ".h5"
        return super().read(path, most, whole=whole, **options)


def test_a_listing_reads_no_version_file(saved: Registry) -> None:
    files = Counting()
    entries = Registry(saved.path, files=files).search(name="net")
    assert files.read_versions == 0
    assert [(entry.version, entry.tags) for entry in entries] == [
        (version, {"stage": "candidate"} if version.number == 2 else {}) for version in saved.versions("net")
    ]


def test_what_is_not_kept_is_read_from_the_version_once(saved: Registry) -> None:
    expected = saved.search()
    (saved.path / "net" / "facts.log").unlink()
    files = Counting()
    registry = Registry(saved.path, files=files)
    assert registry.search() == expected
    assert files.read_versions == 3
    assert registry.search() == expected
    assert files.read_versions == 3


def lines(registry: Registry) -> list[bytes]:
    return [line for line in (registry.path / "net" / "facts.log").read_bytes().split(b"\n") if line]


def resealed(line: bytes, **changes: Any) -> bytes:
    text = json.dumps(json.loads(line[17:]) | changes).encode()
    return facts._check(text) + b" " + text


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line[:-1],
        lambda line: line.replace(b"0.9", b"0.8"),
        lambda line: b"",
        lambda line: b"\0" * len(line),
        lambda line: resealed(line, digest="0" * 64),
        lambda line: resealed(line, nbytes=1),
        lambda line: resealed(line, metrics={"accuracy": "high"}),
        lambda line: resealed(line, metrics=[]),
        lambda line: resealed(line, recipe={"train": 3}),
        lambda line: resealed(line, extra=3),
        lambda line: resealed(line, number="1"),
        lambda line: resealed(line, number=2),
        lambda line: resealed(line, dataset=3),
        lambda line: facts._check(b"[" * 9999) + b" " + b"[" * 9999,
    ],
)
def test_lines_that_are_wrong_are_not_believed(saved: Registry, damage: Any) -> None:
    expected = saved.search()
    first, *rest = lines(saved)
    (saved.path / "net" / "facts.log").write_bytes(b"\n".join([damage(first), *rest]))
    assert saved.search() == expected
    assert saved.verify() == []


def test_facts_of_other_content_are_not_believed(saved: Registry) -> None:
    expected = saved.search()
    log = saved.path / "net" / "digests.log"
    log.rename(log.with_name("kept"))  # without it nothing says which content a number has
    files = Counting()
    assert Registry(saved.path, files=files).search(name="net") == expected[:3]
    assert files.read_versions == 3


def test_a_damaged_version_is_listed_as_such(saved: Registry) -> None:
    path = saved.find("net@1").path
    path.write_bytes(path.read_bytes()[:600])
    saved.find("net@2").path.unlink()
    saved.find("net@3").path.rename(path.with_name("x"))
    path.with_name("v000003.h5").symlink_to("x")
    assert [(entry.version.ref, entry.facts, entry.version.digest) for entry in saved.search(name="net")] == [
        ("net@1", None, ""),
        ("net@3", None, ""),
    ]
    assert refs(saved, "seed!=0", "net") == ["net@1", "net@3"]
    assert refs(saved, "name=net and seed=0") == []


def test_a_version_that_the_log_does_not_know_is_listed_as_damaged(saved: Registry) -> None:
    data = saved.find("net@2").path.read_bytes()
    saved.find("net@1").path.write_bytes(data)
    assert [entry.facts is None for entry in saved.search(name="net")] == [True, False, False]


def test_facts_that_cannot_be_kept_change_nothing(registry: Registry, model: Sequential) -> None:
    class Refusing(Files):
        def open_end(self, path: Path) -> int:
            if path.name == "facts.log":
                raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return super().open_end(path)

    read_only = Registry(registry.path, files=Refusing())
    assert read_only.save(model, "net").number == 1
    assert [entry.version.ref for entry in read_only.search()] == ["net@1"]
    assert not (registry.path / "net" / "facts.log").exists()


def test_a_link_in_the_place_of_the_facts_is_not_followed(
    registry: Registry, model: Sequential, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"kept")
    registry.save(model, "net")
    (registry.path / "net" / "facts.log").unlink()
    (registry.path / "net" / "facts.log").symlink_to(target)
    registry.save(model, "net")
    assert len(registry.search()) == 2
    assert target.read_bytes() == b"kept"
    (problem,) = registry.verify()
    assert (problem.path.name, "must be a regular file" in problem.text) == ("facts.log", True)


def test_the_latest_version_is_found_without_a_look_at_the_others(registry: Registry, model: Sequential) -> None:
    class Looking(Files):
        looked: list[str]

        def size(self, path: Path) -> int | None:
            self.looked.append(path.name)
            return super().size(path)

    for _ in range(3):
        registry.save(model, "net")
    files = Looking()
    files.looked = []
    assert Registry(registry.path, files=files).find("net").number == 3
    assert "v000001.h5" not in files.looked
