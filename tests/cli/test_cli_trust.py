"""What a model file may choose of an installed plugin: nothing by itself, everything once the user trusts it."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.components import installed_catalog
from cnnkit.registry import Registry
from cnnkit.registry.format import sealing

PLUGIN = Path(__file__).with_name("stripes_plugin.py").read_text()
RECIPE = """\
[model]
name = "striped"
layers = ["Flatten()", "Dense(2)"]
[data]
dataset = "Stripes()"
validation = 0.25
[train]
optimizer = "Signs(0.01)"
loss = "Halved()"
schedule = "Stairs()"
metrics = ["Accuracy()", "Wrong()"]
callbacks = ["Watch()"]
augmentations = ["Mirror()"]
epochs = 2
batch_size = 8
"""
KINDS = {
    "optimizer": "Signs(0.01)",
    "loss": "Halved()",
    "schedule": "Stairs()",
    "metric": "Wrong()",
    "callback": "Watch()",
    "augmentation": "Mirror()",
}
MODULE = "cnnkit_stripes"
MODULES = (MODULE, "cnnkit_evil", "cnnkit_else", "cnnkit_again")
LOG = "imported.log"
TRUST = ("--trust", "cnnkit-stripes")


def install(site: Path, name: str, module: str, source: str) -> None:
    """What pip leaves of a distribution with one module."""
    info = site / f"{module}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[cnnkit]\nplugin = {module}\n")
    log = f"with open({str(site / LOG)!r}, 'a') as log:\n    log.write(f'{{__name__}}\\n')\n"
    (site / f"{module}.py").write_text(source + log)


def imported() -> set[str]:
    """The modules of plugins that the last command has imported, in its own process or in another one."""
    log = Path("site", LOG)
    return set(log.read_text().split()) if log.exists() else set()


def forget() -> None:
    """Let the next command be a new process, as far as plugins go."""
    Path("site", LOG).unlink(missing_ok=True)
    installed_catalog.cache_clear()
    for module in MODULES:
        sys.modules.pop(module, None)


@pytest.fixture
def striped(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """`cli`, with the plugin installed, beside another, and striped@1 trained with all of it."""
    monkeypatch.delenv("CNNKIT_TRUST", raising=False)
    install(tmp_path / "site", "Cnnkit_Stripes", MODULE, PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    forget()
    (tmp_path / "striped.toml").write_text(RECIPE)
    result = cli("train", "striped.toml")
    assert result.code == 0, result.err
    assert "next:\n  cnnkit evaluate striped@1 --trust cnnkit-stripes\n" in result.out
    install(tmp_path / "site", "cnnkit-evil", "cnnkit_evil", "")

    def run(*arguments: str) -> Any:
        forget()
        found = cli(*arguments)
        asks_every_plugin = {"train", "doctor", "export", "validate", "export-bundle"} & {*arguments}  # names, runtimes
        if not asks_every_plugin and {"Stripes()", "Halved()"}.isdisjoint(arguments):
            assert "cnnkit_evil" not in imported()
        return found

    yield run
    forget()


def test_a_plugin_that_is_asked_is_seen_to_be_imported(striped: Any) -> None:
    striped("evaluate", "striped@1", "--dataset", "Stripes()", "--trust", "cnnkit-stripes")
    assert "cnnkit_evil" in imported()
    assert "cnnkit_evil" not in sys.modules


def changed(**manifest: Any) -> None:
    """Replace things in the manifest of striped@1, sealed again, with no log that could notice it."""
    record = Registry().read("striped@1")
    content = dataclasses.replace(record.manifest, **manifest)
    record.version.path.write_bytes(sealing.pack(content.encode(), record.state))
    (record.version.path.parent / "digests.log").unlink(missing_ok=True)


def as_older() -> None:
    """Let striped@1 be a file that says of its layers alone where they come from."""
    components = Registry().read("striped@1").manifest.components
    changed(components={name: origin for name, origin in components.items() if " " not in name})


def test_the_file_says_where_everything_comes_from(striped: Any) -> None:
    components = Registry().read("striped@1").manifest.components
    for kind, expression in (KINDS | {"dataset": "Stripes()"}).items():
        origin = components[f"{kind} {expression.partition('(')[0]}"]
        assert (origin.distribution, origin.version) == ("Cnnkit_Stripes", "1.0")
    assert components["metric Accuracy"].distribution == "cnnkit"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_trusted_plugin_is_reproduced_bit_for_bit(striped: Any, workers: str) -> None:
    result = striped("reproduce", "striped@1", *TRUST, "--workers", workers)
    assert result.code == 0, result.err
    assert "striped@1 is reproduced bit for bit: 2 arrays, and the history of 2 epochs" in result.out
    assert "although" not in result.err


def test_nothing_is_reproduced_of_a_plugin_that_is_not_trusted(striped: Any) -> None:
    result = striped("reproduce", "striped@1")
    assert (result.code, result.out) == (2, "")
    assert (
        "the model was trained on Stripes(), which a model file may not load itself, because that opens files or "
        "runs a plugin: pass --dataset 'Stripes()'; Stripes comes from cnnkit-stripes: if you trust it, add --trust "
        "cnnkit-stripes"
    ) in result.err
    assert MODULE not in imported()
    result = striped("reproduce", "striped@1", "--dataset", "Digits()")
    assert result.code == 2
    for kind, expression in KINDS.items():
        name = expression.partition("(")[0]
        assert (
            f"striped@1 was trained with the {kind} {expression}, and a model file can use only those that come with "
            f"cnnkit; {name} comes from cnnkit-stripes: if you trust it, add --trust cnnkit-stripes\n"
        ) in result.err
    assert MODULE not in imported()


@pytest.mark.parametrize("name", ["cnnkit-stripes", "Cnnkit_Stripes", "CNNKIT.stripes"])
def test_names_are_compared_as_pip_compares_them(striped: Any, name: str) -> None:
    document = striped("evaluate", "striped@1", "--trust", name, "--json").document
    assert list(document["metrics"]) == ["loss", "accuracy", "wrong"]
    assert document["metrics"] == Registry().read("striped@1").manifest.metrics
    assert document["same_data"] is True


def test_the_users_own_setting_counts_everywhere(striped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNKIT_TRUST", "other, cnnkit-stripes,")
    commands = (
        ("evaluate", "striped@1"),
        ("reproduce", "striped@1"),
        ("plot", "striped@1", "--kind", "confusion", "-o", "confusion.png"),
        ("explain", "striped@1", "--sample", "0"),
        ("models", "diff", "striped@1", "striped@1", "--dataset", "Stripes()"),
    )
    for command in commands:
        result = striped(*command)
        assert (result.code, "warning" in result.err) == (0, False), result.err
    compared = "compared on 32 test samples of Stripes()"
    assert compared in striped("export", "striped@1", "-o", "s.onnx").err
    assert compared in striped("validate", "s.onnx", "striped@1").err
    assert compared in striped("models", "export-bundle", "striped@1", "-o", "s.zip").err


def test_what_is_not_trusted_is_asked_for_one_by_one(striped: Any) -> None:
    assert "--trust cnnkit-stripes" in striped("evaluate", "striped@1").err
    result = striped("explain", "striped@1", "--sample", "0", "--dataset", "Stripes()")
    assert result.code == 2
    assert (
        "the model was trained with the loss Halved(), and a model file can use only those that come with cnnkit: "
        "pass --loss 'Halved()'; Halved comes from cnnkit-stripes: if you trust it, add --trust cnnkit-stripes"
    ) in result.err
    result = striped("evaluate", "striped@1", "--dataset", "Stripes()", "--loss", "Halved()", "--json")
    assert list(result.document["metrics"]) == ["loss", "accuracy"]
    assert (
        "warning: the metric Wrong() is skipped: a model file can use only those that come with cnnkit; Wrong "
        "comes from cnnkit-stripes: if you trust it, add --trust cnnkit-stripes"
    ) in result.err
    assert striped("plot", "striped@1", "--kind", "confusion").code == 2


def test_predict_learns_of_a_trusted_dataset_how_light_images_are(striped: Any, tmp_path: Path) -> None:
    from PIL import Image

    paper = np.full((8, 8), 255, np.uint8)
    paper[2:6, 2:6] = 0
    Image.fromarray(paper).save(tmp_path / "paper.png")
    untrusted = striped("predict", "striped@1", "paper.png", "--json")
    assert (untrusted.code, MODULE in imported()) == (0, False)
    assert not untrusted.document["predictions"][0]["inverted"]
    trusted = striped("predict", "striped@1", "paper.png", *TRUST, "--json")
    assert (trusted.code, MODULE in imported()) == (0, True)
    assert trusted.document["predictions"][0]["probability"] == untrusted.document["predictions"][0]["probability"]


def test_a_plugin_that_is_not_installed_is_named_as_the_files_word(striped: Any, tmp_path: Path) -> None:
    (tmp_path / "site" / f"{MODULE}-1.0.dist-info" / "entry_points.txt").write_text("")
    said = (
        "the file says that Stripes comes from cnnkit-stripes, which is not installed: if you trust that distribution"
    )
    assert (
        f"{said}, run pip install cnnkit-stripes and add --trust cnnkit-stripes" in striped("evaluate", "striped").err
    )
    result = striped("evaluate", "striped", *TRUST)
    assert f"{said}, run pip install cnnkit-stripes\n" in result.err
    assert result.code == 2


def test_an_older_file_finds_its_components_among_those_that_are_trusted(striped: Any, tmp_path: Path) -> None:
    as_older()
    result = striped("evaluate", "striped@1")
    assert result.code == 2
    assert (
        "the file does not say what provides the dataset Stripes: if you trust the distribution that does, add --trust "
        "DIST; Cnnkit_Stripes took part in the training"
    ) in result.err
    assert MODULE not in imported()
    install(tmp_path / "site", "cnnkit-else", "cnnkit_else", "")
    result = striped("evaluate", "striped@1", "--trust", "cnnkit-else", "--trust", "gone")
    assert "none of cnnkit-else, gone (not installed) provides the dataset Stripes: if you trust" in result.err
    assert striped("reproduce", "striped@1", *TRUST).code == 0
    install(tmp_path / "site", "cnnkit-again", "cnnkit_again", PLUGIN)
    result = striped("evaluate", "striped@1", *TRUST, "--trust", "cnnkit-again")
    assert result.code == 2
    assert (
        "Cnnkit_Stripes and cnnkit-again provide Stripes, and the file does not say which was used: trust one of them"
    ) in result.err


def test_trust_starts_no_download(striped: Any) -> None:
    dataset = {"name": 'Stripes(folder="gone")', "digest": ""}
    changed(dataset=dataset)
    result = striped("evaluate", "striped@1", *TRUST)
    assert result.code == 2
    assert "is not complete in " in result.err
    assert "and a model file never starts a download: pass --dataset 'Stripes(folder=\"gone\")'" in result.err


def test_no_file_is_opened_through_the_arguments_of_a_trusted_dataset(striped: Any) -> None:
    changed(dataset={"name": 'Stripes(64, Arrays("/secret.npz"))', "digest": ""})
    result = striped("evaluate", "striped@1", *TRUST)
    assert result.code == 2
    assert (
        "which a model file may not load itself, because that opens files or runs a plugin: pass --dataset"
        in result.err
    )


@pytest.mark.parametrize("name", ["--evil", "x; rm", "", "a b"])
def test_trust_takes_names_of_distributions(striped: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    expected = f"expected the name of a distribution, such as cnnkit-elastic, got {name!r}"
    for command in ("evaluate", "reproduce", "predict", "plot", "explain", "export"):
        files = ("x.npy",) if command == "predict" else ()
        result = striped(command, "striped@1", *files, f"--trust={name}")
        assert (result.code, result.out) == (2, "")
        assert f"--trust: {expected}" in result.err
    if name:
        monkeypatch.setenv("CNNKIT_TRUST", name)
        assert f"CNNKIT_TRUST: {expected}" in striped("evaluate", "striped@1").err
        assert f"CNNKIT_TRUST: {expected}" in striped("doctor").err


def test_cnnkit_itself_needs_no_trust(striped: Any) -> None:
    result = striped("evaluate", "striped@1", "--trust", "cnnkit")
    assert result.code == 2
    assert "--trust: cnnkit's own components need no trust, and what opens a file or starts a download" in result.err


def test_other_versions_of_a_plugin_are_told(striped: Any, tmp_path: Path) -> None:
    metadata = tmp_path / "site" / f"{MODULE}-1.0.dist-info" / "METADATA"
    metadata.write_text("Metadata-Version: 2.1\nName: Cnnkit_Stripes\nVersion: 1.1\n")
    result = striped("reproduce", "striped@1", *TRUST)
    assert result.code == 0
    assert "although cnnkit-stripes was 1.0, it is 1.1" in result.err
    result = striped("evaluate", "striped@1", *TRUST)
    assert result.code == 0
    for name in ("Stripes", "Halved", "Wrong"):
        assert (
            "warning: the model was saved with cnnkit-stripes 1.0, and cnnkit-stripes 1.1 is installed: "
            f"what is measured differs if {name} has changed\n"
        ) in result.err


def test_the_same_version_of_a_plugin_is_no_warning(striped: Any) -> None:
    assert "warning" not in striped("evaluate", "striped@1", *TRUST).err


def test_the_recipe_of_a_version_trains_it_again(striped: Any, tmp_path: Path) -> None:
    shown = striped("models", "show", "striped@1", "--recipe")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith("# The recipe of striped@1, which needs Cnnkit_Stripes.\n\n[model]\n")
    assert MODULE not in imported()
    (tmp_path / "again.toml").write_text(shown.out)
    assert striped("train", "again.toml").code == 0
    first, second = Registry().read("striped@1"), Registry().read("striped@2")
    assert first.manifest.recipe == second.manifest.recipe
    for name, array in first.state.items():
        assert array.tobytes() == second.state[name].tobytes()


def test_every_command_that_needs_trust_prints_one_that_works(striped: Any) -> None:
    trained = striped("train", "striped.toml").out
    commands = [line.split(maxsplit=1)[1] for line in trained.splitlines() if line.startswith("  cnnkit ")]
    assert [command.split()[0] for command in commands] == ["evaluate", "export", "plot"]
    for command in commands:
        result = striped(*shlex.split(command))
        assert (result.code, "random inputs" in result.err) == (0, False), result.err
