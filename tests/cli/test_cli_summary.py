"""`summary --graph`: the picture of a recipe's network or of a registered model, beside the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cnnkit.network import Sequential
from cnnkit.registry import Registry

pytest.importorskip("matplotlib")


def test_the_picture_is_written_and_named_below_the_table(trained: Any) -> None:
    table = trained("summary", "tiny@1").out
    result = trained("summary", "tiny@latest", "--graph", "net.svg")
    assert (result.code, result.out, result.err) == (0, f"{table}net.svg\n", "")
    text = Path("net.svg").read_text()
    assert ">tiny@1<" in text
    assert ">2 layers, 650 parameters<" in text


def test_a_recipe_is_drawn_under_its_name(cli: Any) -> None:
    assert cli("summary", "tiny.toml", "--set", 'model.layers=["Dense(3)"]', "--graph", "net.svg").code != 0
    assert not Path("net.svg").exists()
    result = cli("summary", "tiny.toml", "--graph", "net.svg", "--json")
    assert result.document["graph"] == "net.svg"
    assert ">tiny<" in Path("net.svg").read_text()
    assert "graph" not in cli("summary", "tiny.toml", "--json").document


def test_a_known_network_is_named_by_its_expression(cli: Any) -> None:
    result = cli("summary", "ResNet(20)", "--json")
    assert (result.code, result.err) == (0, "")
    document = result.document
    assert (document["input"], document["parameters"]) == ([3, 32, 32], 272_474)
    assert document == cli("summary", "ResNet(20)", "--input", "3,32,32", "--json").document
    assert cli("summary", "LeNet5()", "--input", "1,28,28", "--json").document["input"] == [1, 28, 28]
    assert cli("summary", "LeNet5()", "--input", "1,28,28", "--graph", "net.svg").out.endswith("net.svg\n")
    assert ">LeNet5()<" in Path("net.svg").read_text()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("tiny.toml", "--input", "3,8,8"), "--input is for known networks; tiny.toml has inputs of its own: leave it"),
        (("ResNet(20)", "--set", "epochs=3"), "--set overrides values of a recipe; ResNet(20) is a known network: cha"),
        (("ResNet(20)", "--input", "3,x"), "--input must be positive numbers separated by commas, such as 3,8,8, got"),
        (("Resnet(20)",), "Resnet(20) is neither a known network nor a dataset\n  did you mean ResNet or "),
        (("Digit()",), "Digit() is neither a known network nor a dataset\n  did you mean Digits?"),
        (("Qwertz()",), "Qwertz() is neither a known network nor a dataset\n  the known networks are AlexNet, "),
        (("ResNet()",), "ResNet(): missing a required argument: 'depth'; expected ResNet(depth, "),
    ],
)
def test_what_does_not_fit(cli: Any, given: tuple[str, ...], message: str) -> None:
    result = cli("summary", *given)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_other_formats(cli: Any, suffix: str) -> None:
    assert cli("summary", "tiny.toml", "--graph", f"net.{suffix}").code == 0
    assert Path(f"net.{suffix}").stat().st_size > 1000


def test_what_cannot_be_drawn_is_said_in_one_line(cli: Any, tmp_path: Path) -> None:
    Registry(tmp_path / "registry").save(Sequential(["ReLU()"] * 4000, (4,)), "deep")
    result = cli("summary", "deep@1", "--registry", "registry", "--graph", "net.svg")
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "error: the network has 4,000 layers, and a picture can show up to 600: read its summary instead\n"
    )
    assert not Path("net.svg").exists()


@pytest.mark.parametrize("name", ["net.jpg", "missing/net.svg"])
def test_a_file_that_cannot_be_is_refused_before_anything_is_read(cli: Any, name: str) -> None:
    result = cli("summary", "there is no such recipe", "--graph", name)
    assert (result.code, result.out) == (2, "")
    assert f"cannot write {name}: expected" in result.err
