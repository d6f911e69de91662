"""Bad input: one message, exit code 2, nothing on stdout, nothing left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnnkit.data.downloading.download
from cnnkit.errors import DataError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("digit",), "did you mean digits?"),
        (("nowhere.toml",), "cannot read the recipe nowhere.toml: No such file or directory"),
        (("tiny.toml", "--set", "train.epoch=3"), "did you mean epochs?"),
        (
            ("tiny.toml", "--set", "epochs"),
            "an override has the form key=value, such as \"train.epochs=3\", got 'epochs'",
        ),
        (("tiny.toml", "--epochs", "0"), "train.epochs: expected a whole number, 1 or above, found 0"),
        (("tiny.toml", "--workers", "0"), "workers must be"),
        (("tiny.toml", "--lr", "-1"), "SGD(lr=-1.0, momentum=0.9): lr must be a number above 0, got -1.0"),
        (("tiny.toml", "--lr", "nan"), "nan cannot be written in an expression: use a finite number"),
        (("tiny.toml", "--set", 'model.layers=["Dens(10)"]'), "there is no layer named 'Dens'\n  did you mean Dense?"),
        (("tiny.toml", "--set", 'model.layers=["Dense(width=10)"]'), "expected Dense(units"),
        (("tiny.toml", "--set", 'model.layers=["Flatten()", "Dense(9)"]'), "the last layer must give 10 values"),
        (("tiny.toml", "--set", 'model.layers=["Flatten()", "Conv2D(8, 3)"]'), "layer conv2d_1 = Conv2D(8, 3)"),
        (("tiny.toml", "--set", "model.name=../escape"), "model.name: expected 1 to 64 lower-case letters"),
        (("tiny.toml", "--set", "data.dataset=Nothing()"), "there is no dataset named 'Nothing'"),
        (("tiny.toml", "--set", "data.dataset=Arrays('no.npz')"), "no file no.npz: looked for"),
        (("tiny.toml", "--lr", "1e38"), "Expected finite numbers: lower the learning rate"),
    ],
)
def test_a_training_that_cannot_be(cli: Any, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    result = cli("train", *arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err.count("error: ") == 1
    assert message in result.err
    assert "Traceback" not in result.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.toml"]


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)])
def test_an_unwritable_registry_is_found_before_the_training(
    cli: Any, tmp_path: Path, dry_run: tuple[str, ...]
) -> None:
    (tmp_path / "registry").write_text("a file")
    result = cli("train", "tiny.toml", *dry_run)
    assert (result.code, result.out) == (2, "")
    assert f"{tmp_path / 'registry'} is not a folder that can be written to" in result.err
    assert "choose another registry with --registry or CNNKIT_REGISTRY" in result.err
    assert "epoch" not in result.err


def test_a_name_that_the_registry_refuses_is_found_before_the_training(cli: Any) -> None:
    result = cli("train", "tiny.toml", "--set", "model.name=Tiny..")
    assert result.code == 2
    assert "epoch" not in result.err


def test_a_registry_in_a_file_below_it(cli: Any, tmp_path: Path) -> None:
    result = cli("train", "tiny.toml", "--registry", tmp_path / "tiny.toml" / "registry")
    assert result.code == 2
    assert f"{tmp_path / 'tiny.toml'} is not a folder that can be written to" in result.err


def test_a_data_file_that_is_damaged(cli: Any, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte").write_bytes(b"\0\0\x08\x03 damaged")
    result = cli("train", "tiny.toml", "--set", "data.dataset=MNIST()")
    assert (result.code, result.out) == (2, "")
    assert f"error: {folder / 'train-images-idx3-ubyte'}" in result.err


def test_a_data_folder_without_the_files(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*arguments: Any) -> None:
        raise DataError("no mirror gave the file")

    monkeypatch.setattr(cnnkit.data.downloading.download, "download", offline)
    result = cli("train", "tiny.toml", "--set", "data.dataset=MNIST()", "--data-dir", tmp_path / "elsewhere")
    assert (result.code, result.out) == (2, "")
    assert f"in {tmp_path / 'elsewhere' / 'mnist'}, and no mirror gave the file" in result.err


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("tine@1", "there is no model 'tine' in the registry"),
        ("tiny@2", "tiny@2 does not exist; the only version is 1"),
        ("tiny@best", "tiny has no alias 'best'"),
        ("../tiny", "../tiny is a path, and a model is named by a reference, NAME@VERSION, such as digits@3"),
    ],
)
def test_a_reference_that_does_not_exist(trained: Any, reference: str, message: str) -> None:
    for command in (("evaluate",), ("predict", "x.npy"), ("export",), ("models", "show"), ("models", "delete")):
        arguments = [*command, reference] if command[0] != "predict" else ["predict", reference, "x.npy"]
        result = trained(*arguments)
        assert (result.code, result.out) == (2, "")
        assert message in result.err


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--epochs", "zero", "expected a whole number, got 'zero'"),
        ("--lr", "zero", "expected a number, got 'zero'"),
        ("--epochs", "1.5", "expected a whole number, got '1.5'"),
        ("--epochs", "", "expected a whole number, got ''"),
    ],
)
def test_an_option_of_another_type_is_told_in_plain_words(cli: Any, option: str, value: str, expected: str) -> None:
    result = cli("train", "tiny.toml", option, value)
    assert (result.code, result.out) == (2, "")
    assert f"error: invalid value for '{option}': {expected}\n" in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("attribute", "tiny@1", "--method", "foo"),
            "'--method': expected one of 'gradcam', 'integrated-gradients', 'occlusion', 'gradient', got 'foo'",
        ),
        (("predict", "tiny@1", "x.png", "--invert", "x"), "'--invert': expected one of 'auto', 'on', 'off', got 'x'"),
        (("plot", "tiny@1", "--sample", "-1"), "'--sample': expected a number, 0 or more, got '-1'"),
    ],
)
def test_a_choice_and_a_bound_are_told_in_plain_words(cli: Any, arguments: tuple[str, ...], message: str) -> None:
    result = cli(*arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"Usage: cnnkit {arguments[0]} ")
    assert result.err.endswith(
        f"\nTry 'cnnkit {arguments[0]} --help' for help.\n\nerror: invalid value for {message}\n"
    )


@pytest.mark.parametrize("command", ["summary", "gradcheck", "train"])
def test_the_bare_name_of_a_registered_model_is_told(trained: Any, tmp_path: Path, command: str) -> None:
    (tmp_path / "tiny.toml").unlink()
    expected = "error: tiny is a registered model, not a recipe: name one of its versions, such as tiny@latest\n"
    result = trained(command, "tiny")
    assert (result.code, result.out, result.err) == (2, "", expected)
    other = trained(command, "tinier")
    assert other.code == 2
    assert "registered model" not in other.err


def test_swapped_arguments_are_told(trained: Any, tmp_path: Path) -> None:
    (tmp_path / "img.png").touch()
    for arguments, right in (
        (("predict", "img.png", "tiny@1"), "cnnkit predict tiny@1 img.png"),
        (("validate", "tiny@1", "x.onnx"), "cnnkit validate x.onnx tiny@1"),
    ):
        result = trained(*arguments)
        assert (result.code, result.err) == (2, f"error: the arguments seem to be swapped: expected {right}\n")
    assert "img.png is a file, and a model is named by a reference" in trained("predict", "img.png", "img.png").err


def test_data_stands_where_a_dataset_or_a_recipe_does(cli: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "own.npz", x=rng.normal(size=(40, 3)).astype(np.float32), y=np.arange(40) % 2)
    (tmp_path / "own.csv").write_text("a,kind\n" + "".join(f"{n},{n % 2}\n" for n in range(40)))
    shown = cli("datasets", "show", "own.npz", "--json").document
    assert shown["dataset"] == 'Arrays("own.npz")'
    table = cli("train", 'Table("own.csv", "kind")', "--epochs", "1", "--save-recipe", "own.toml")
    assert (table.code, "registered  own@1" in table.out) == (0, True)
    assert "own.toml has it all" in table.err
    assert 'Table("own.csv", "kind")' in (tmp_path / "own.toml").read_text()
    assert cli("evaluate", "own@1", "--dataset", 'Table("own.csv", "kind")').code == 0
    compared = cli("compare", "own.npz", "--seeds", "1", "--epochs", "1", "--register", "none", "--json")
    assert compared.code == 0


def test_files_that_are_no_recipe_say_what_they_are(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "photos.zip").write_bytes(b"PK\x03\x04")
    for command in (("train",), ("datasets", "show"), ("compare",)):
        result = cli(*command, "photos.zip")
        assert (result.code, result.out) == (2, "")
        assert "photos.zip is nothing to train on, this seems to be a zip archive" in result.err
        assert "unpack it first, and give the folder that comes out" in result.err
    assert "there is no folder nothere/" in cli("train", "nothere/").err
    assert "`cnnkit reproduce tiny@1` trains this model again" in cli("train", "tiny@1").err


def test_there_is_no_registry(cli: Any, tmp_path: Path) -> None:
    for command in (("models", "list"), ("models", "verify"), ("evaluate", "tiny@1")):
        result = cli(*command)
        assert (result.code, result.out) == (2, "")
        assert str(tmp_path / "registry") in result.err
    assert not (tmp_path / "registry").exists()


def test_a_dataset_that_does_not_fit_the_model(cli: Any, trained: Any, tmp_path: Path) -> None:
    import numpy as np

    np.savez(tmp_path / "wide.npz", x=np.zeros((40, 1, 4, 4), np.uint8), y=np.arange(40) % 10)
    result = trained("evaluate", "tiny@1", "--dataset", "Arrays('wide.npz')")
    assert (result.code, result.out) == (2, "")
    assert "tiny takes inputs of shape (1, 8, 8), the dataset has (1, 4, 4)" in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "--epoch", "3"), "error: no such option: --epoch"),
        (("--epoch",), "error: no such option: --epoch"),
        (("train", "--epochs", "many"), "error: invalid value for '--epochs'"),
        (("tarin",), "error: no such command 'tarin'; did you mean 'train'?\n"),
        (("predict", "tiny@1"), "error: missing argument 'FILE...'\n"),
        (("evaluate", "tiny@1", "x" * 200), "x" * 200),
    ],
)
def test_wrong_usage(cli: Any, arguments: tuple[str, ...], message: str) -> None:
    result = cli(*arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_debug_adds_the_traceback(cli: Any) -> None:
    plain, debug = cli("evaluate", "tiny@1"), cli("evaluate", "tiny@1", "--debug")
    assert plain.code == debug.code == 2
    assert "Traceback" not in plain.err
    assert "Traceback" in debug.err
    assert debug.err.endswith(plain.err)


def test_a_defect_is_one_line(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import cnnkit.registry

    def broken(*arguments: Any) -> None:
        raise ZeroDivisionError("oh [bold]no[/bold]")

    monkeypatch.setattr(cnnkit.registry.Registry, "search", broken)
    plain, debug = cli("models", "list"), cli("models", "list", "--debug")
    expected = "internal error: ZeroDivisionError: oh [bold]no[/bold]"
    assert (plain.code, plain.err) == (2, f"{expected}; run again with --debug for the traceback\n")
    assert "Traceback" in debug.err


def test_an_interrupt_anywhere_exits_130(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import cnnkit.registry

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cnnkit.registry.Registry, "search", interrupted)
    result = cli("models", "list")
    assert (result.code, result.out, result.err) == (130, "", "")
