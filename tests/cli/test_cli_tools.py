"""`plugins`, `datasets`, `doctor` and `gradcheck`."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cnnkit.components import Catalog, Dataset, Layer, Plugin, hookimpl, installed_plugins
from cnnkit.losses import CrossEntropy
from cnnkit.network import Sequential


class Backwards(Layer):
    """A layer whose gradient has the wrong sign."""

    def forward(self, x: Any, ctx: Any) -> Any:
        return 2 * x, None

    def backward(self, dy: Any, cache: Any, ctx: Any) -> Any:
        return -2 * dy, {}


@pytest.fixture
def with_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two more plugins: one whose import ends the process, one with the layer `Backwards`."""

    def explode() -> Any:
        raise SystemExit(7)

    module = SimpleNamespace(cnnkit_layers=hookimpl(specname="cnnkit_layers")(lambda: [Backwards]))
    catalog = Catalog(
        [
            *(plugin for plugin in installed_plugins() if plugin.distribution == "cnnkit"),
            Plugin("cnnkit-broken", "1.2", "cnnkit_broken", explode),
            Plugin("cnnkit-backwards", "0.1", "cnnkit_backwards", lambda: module),
        ]
    )
    monkeypatch.setattr("cnnkit.components.installed_catalog", lambda: catalog)


def test_plugins_are_listed_with_what_they_bring(cli: Any, with_plugins: None) -> None:
    result = cli("plugins", "list")
    assert result.code == 0
    assert "cnnkit-backwards 0.1 (cnnkit_backwards): ready\n  layer        Backwards\n" in result.out
    assert "  problem: importing cnnkit_broken failed: SystemExit: 7\n" in result.out
    entries = {entry["distribution"]: entry for entry in cli("plugins", "list", "--json").document}
    assert "Conv2D" in entries["cnnkit"]["components"]["layer"]
    assert entries["cnnkit"]["problems"] == []
    assert entries["cnnkit-broken"]["version"] == "1.2"
    assert len(entries["cnnkit-broken"]["problems"]) == 1


def test_doctor_shows_the_installation(cli: Any, with_plugins: None, tmp_path: Path) -> None:
    result = cli("doctor")
    assert result.code == 1
    for name in ("python", "numpy", "blas", "cores", "runtimes"):
        assert f"\n{name} " in result.out
    assert f"registry  {tmp_path / 'registry'} (created when needed)" in result.out
    assert "warning: cnnkit-broken 1.2: importing cnnkit_broken failed: SystemExit: 7" in result.err
    assert not (tmp_path / "registry").exists()
    (tmp_path / "registry").write_text("")
    (tmp_path / "data").mkdir()
    document = cli("doctor", "--json").document
    assert document["registry"] == f"{tmp_path / 'registry'} (not a folder)"
    assert document["data"] == f"{tmp_path / 'data'} (writable)"
    assert len(document["problems"]) == 1


def test_doctor_is_content_with_an_installation_that_works(cli: Any) -> None:
    result = cli("doctor", "--json")
    assert (result.code, result.document["problems"]) == (0, [])


class Toy(Dataset):
    """A toy."""


def test_two_datasets_with_one_name_are_both_listed(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def plugin(name: str) -> Plugin:
        module = ModuleType(name)
        vars(module)["cnnkit_datasets"] = hookimpl(specname="cnnkit_datasets")(lambda: [Toy])
        return Plugin(name, "1", name, lambda: module)

    catalog = Catalog([*installed_plugins(), plugin("a-toys"), plugin("b-toys")])
    monkeypatch.setattr("cnnkit.components.installed_catalog", lambda: catalog)
    found = [(entry["name"], entry["distribution"]) for entry in cli("datasets", "list", "--json").document]
    assert {("Digits", "cnnkit"), ("Toy", "a-toys"), ("Toy", "b-toys")} <= set(found)


def test_what_a_plugin_prints_stays_out_of_the_answer(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> Any:
        print("hello from the import")
        return SimpleNamespace(cnnkit_layers=hookimpl(specname="cnnkit_layers")(layers))

    def layers() -> Any:
        print("hello from the hook")
        return [Backwards]

    catalog = Catalog([*installed_plugins(), Plugin("loud", "1", "loud", load)])
    monkeypatch.setattr("cnnkit.components.installed_catalog", lambda: catalog)
    result = cli("plugins", "list", "--json")
    assert result.document[-1]["components"] == {"layer": ["Backwards"]}
    assert "hello from the import\nhello from the hook\n" in result.err


def test_datasets_are_listed_with_a_description(cli: Any) -> None:
    found = {entry["name"]: entry["description"] for entry in cli("datasets", "list", "--json").document}
    assert found["Digits"].startswith("1,797 handwritten digits")
    assert found["MNIST"] in cli("datasets", "list").out  # whole, though COLUMNS is 40


def test_fetch_says_what_a_dataset_holds(cli: Any) -> None:
    document = cli("datasets", "fetch", "Digits()", "--json").document
    assert (document["train"], document["test"], document["input"]) == (1437, 360, [1, 8, 8])
    assert f"digest   {document['digest']}\n" in cli("datasets", "fetch", "Digits").out


def test_gradcheck_passes_a_right_gradient(cli: Any) -> None:
    assert "the gradient of Conv2D(2, 3) is right" in cli("gradcheck", "Conv2D(2, 3)", "--input", "2,5,5").out
    assert cli("gradcheck", "Dense(3)", "--input", "4", "--json").document["ok"] is True


def test_gradcheck_finds_a_wrong_gradient(cli: Any, with_plugins: None) -> None:
    result = cli("gradcheck", "Backwards()", "--json")
    assert (result.code, result.document["ok"]) == (1, False)
    assert np.isclose(result.document["errors"]["x"], 2)
    assert "the gradient of Backwards() is wrong" in cli("gradcheck", "Backwards").out


def test_gradcheck_takes_losses_and_any_shape_of_targets(cli: Any) -> None:
    document = cli("gradcheck", "Huber(0.5)", "--input", "4", "--json").document
    assert (document["loss"], document["ok"]) == ("Huber(delta=0.5)", True)
    assert "outputs, targets are classes" in document["errors"]
    of_shape = cli("gradcheck", "CrossEntropy()", "--input", "3,2,4", "--targets", "2,4").out
    assert "targets are whole numbers of shape (2, 4): " in of_shape
    result = cli("gradcheck", "CrossEntropy()", "--input", "3", "--targets", "7")
    assert (result.code, result.out) == (2, "")
    assert "the targets must be class indices, integers of shape (4,) for outputs of shape (4, 3)" in result.err
    result = cli("gradcheck", "ReLU()", "--targets", "7")
    assert "error: --targets is for losses, and ReLU() is a layer: leave it out" in result.err
    assert (
        "there is no loss named 'CrosEntropy'\n  did you mean CrossEntropy or" in cli("gradcheck", "CrosEntropy()").err
    )
    assert "there is no layer named 'Xyz'" in cli("gradcheck", "Xyz()").err


def test_gradcheck_takes_recipes_and_registered_models(cli: Any) -> None:
    document = cli("gradcheck", "digits", "--json").document
    assert (document["network"], document["ok"]) == ("the network with CrossEntropy(label_smoothing=0.1)", True)
    assert list(document["errors"])[:2] == ["conv2d_1.weight", "conv2d_1.bias"]
    graph = ["--set", 'model.layers=["Residual(Conv2D(1, 3, padding=1))", "Flatten()", "Dense(10)"]']
    assert "the network with MSE() is right" in cli("gradcheck", "digits", *graph, "--loss", "MSE()").out
    Sequential(["Flatten()", "Dense(3)"], (1, 4, 4)).save("small")
    assert "the network with CrossEntropy() is right" in cli("gradcheck", "small@latest").out
    assert "dense_1.bias: " in cli("gradcheck", "small@1", "--loss", "MSE()", "--targets", "3").out


def test_gradcheck_finds_a_wrong_gradient_in_a_recipe(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = CrossEntropy.backward
    monkeypatch.setattr(CrossEntropy, "backward", lambda *given: 1.001 * right(*given))
    result = cli("gradcheck", "digits", "--json")
    assert (result.code, result.document["ok"]) == (1, False)
    errors = result.document["errors"].values()
    assert np.isclose(max(errors), 0.001, rtol=0.01)
    assert min(errors) > 1e-6


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["digits", "--input", "3"], "--input is for layers and losses; digits has inputs of its own: leave it out"),
        (["digits", "--targets", "3"], "--targets is for losses and registered models; digits has data: leave it out"),
        (["ReLU()", "--loss", "MSE()"], "--loss is for networks, and ReLU() is a layer or a loss: leave it out"),
        (["ReLU()", "--set", "a=1"], "--set is for networks, and ReLU() is a layer or a loss: leave it out"),
        (["a@1", "--set", "a=1"], "--set overrides values of a recipe; a@1 is a registered model"),
        (["a@1"], "there is no registry at "),
    ],
)
def test_gradcheck_says_what_does_not_go_together(cli: Any, arguments: list[str], told: str) -> None:
    result = cli("gradcheck", *arguments)
    assert (result.code, result.out) == (2, "")
    assert told in result.err


@pytest.mark.parametrize("shape", ["9" * 30, "9" * 5000, "1000,1001", "3,8,999999999"])
def test_gradcheck_refuses_inputs_that_would_never_end(cli: Any, shape: str) -> None:
    result = cli("gradcheck", "Dense(3)", f"--input={shape}")
    assert (result.code, result.out) == (2, "")
    assert (
        f"error: --input may have at most 1,000,000 numbers, since each is moved in turn, got {shape[:80]!r}"
        in result.err
    )


@pytest.mark.parametrize("shape", ["", "3,", "3,x", "0", "-1,2", "1.5"])
def test_gradcheck_needs_a_shape(cli: Any, shape: str) -> None:
    result = cli("gradcheck", "ReLU()", f"--input={shape}")
    assert (result.code, result.out) == (2, "")
    assert f"--input must be positive numbers separated by commas, such as 3,8,8, got {shape!r}" in result.err


def test_plugins_are_listed_by_metadata_alone(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> Any:
        raise AssertionError("it was imported")

    own = [plugin for plugin in installed_plugins() if plugin.distribution == "cnnkit"]
    later = Plugin("cnnkit-later", "2", "cnnkit_later", never, apis=("2",))
    blocked = Plugin("cnnkit-blocked", "3", "cnnkit_blocked", never, blocked="CNNKIT_BLOCK_PLUGINS names it")
    shy = Plugin("cnnkit-shy", "1", "cnnkit_shy", never, former=("cnnkit-bold",))
    catalog = Catalog([*own, later, blocked, shy])
    monkeypatch.setattr("cnnkit.components.installed_catalog", lambda: catalog)
    result = cli("plugins", "list", "--no-ask")
    assert result.code == 0
    assert "cnnkit-blocked 3 (cnnkit_blocked): blocked, as CNNKIT_BLOCK_PLUGINS names it\n" in result.out
    assert "cnnkit-shy 1 (cnnkit_shy): not imported\n  earlier called: cnnkit-bold\n" in result.out
    assert "cnnkit-later 2 (cnnkit_later): broken\n  plugin API: 2\n  problem: it is for version 2 of" in result.out
    assert "traceback" not in result.out
    assert cli("plugins", "list", "--no-ask", "--strict-plugins").code == 1


def test_a_broken_plugin_is_an_error_if_that_is_asked_for(cli: Any, with_plugins: None) -> None:
    listed = cli("plugins", "list", "--strict-plugins")
    assert listed.code == 1
    assert "  traceback: python -X faulthandler -c 'import cnnkit_broken'\n" in listed.out
    for command in (("train", "tiny.toml"), ("compare", "tiny.toml"), ("validate", "tiny", "tiny.onnx")):
        strict = cli(*command, "--strict-plugins")
        assert strict.code == 2
        assert strict.err == (
            "error: --strict-plugins: plugins are broken\n  cnnkit-broken 1.2: importing cnnkit_broken failed: "
            "SystemExit: 7\n"
        )
    assert cli("train", "tiny.toml", "--quiet").code == 0
