"""Training options: declared once, and known wherever a training is described.

Run as a program, this writes the table of the guide: `python tests/training/test_training_options.py`.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cnnkit import Trainer
from cnnkit.cli.app import app
from cnnkit.errors import ConfigError
from cnnkit.training.recipe import load_recipe
from cnnkit.training.recipe_tables import TrainSection
from cnnkit.training_options import OPTIONS, TrainingOptions

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guide-recipes.md"
HEAD = "| `train.` | expected | default | meaning |\n|---|---|---|---|\n"
TABLE = re.compile(rf"{re.escape(HEAD)}(\|.*\n)*")


def table() -> str:
    """The table of the guide, as the declaration has it."""
    return HEAD + "".join(
        f"| `{name}` | {option.expected} | {_default(option)} | {option.about} |\n" for name, option in OPTIONS.items()
    )


def _default(option: Any) -> str:
    if option.required:
        return f"required; `{option.default}` in Python"
    return "none" if option.default is None else f"`{json.dumps(option.default)}`"


def unread(names: Iterable[str]) -> list[str]:
    """The options that no module of `cnnkit.training` reads as an attribute."""
    read = {
        node.attr
        for path in (ROOT / "cnnkit" / "training").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    return [name for name in names if name not in read]


def unchanged(names: Iterable[str]) -> list[str]:
    """The options that the changelog does not name."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    return [name for name in names if f"`train.{name}`" not in text]


def test_the_guide_has_every_option() -> None:
    found = TABLE.search(PAGE.read_text("utf-8"))
    assert found, f"{PAGE.name} has no table of options"
    there, here = (set(text.splitlines()) for text in (found[0], table()))
    assert found[0] == table(), (
        f"the table in {PAGE.name} lacks {sorted(here - there)} and has {sorted(there - here)}; to write it again: "
        f"python {Path(__file__).relative_to(ROOT)}"
    )


def test_every_option_is_acted_on() -> None:
    assert unread(OPTIONS) == [], "options that are declared, and that nothing in cnnkit/training reads"
    assert unread(["epochs", "epoch_noise"]) == ["epoch_noise"]


def test_the_changelog_names_every_option() -> None:
    assert unchanged(OPTIONS) == [], "options that CHANGELOG.md does not name as `train.NAME`"
    assert unchanged(["epochs", "epoch_noise"]) == ["epoch_noise"]


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_is_documented(name: str) -> None:
    option = OPTIONS[name]
    assert option.about.endswith(".")
    assert option.expected
    assert not {"|", "\n"} & {*option.about, *option.expected}
    assert f"\n    {name}: {option.about}\n" in (Trainer.__doc__ or "")


def test_recipes_trainers_and_records_have_the_same_options() -> None:
    assert list(TrainSection.model_fields) == list(OPTIONS)
    arguments = inspect.signature(Trainer).parameters
    assert {name: parameter.default for name, parameter in arguments.items()} == {
        **{name: option.default for name, option in OPTIONS.items()},
        "workers": None,
        "progress": True,
    }
    trainer = Trainer(clip_norm=1.0, rollback=0.5)
    left_out = {name for name, option in OPTIONS.items() if option.default is None} - {"clip_norm", "rollback"}
    assert trainer.recipe().keys() == OPTIONS.keys() - left_out
    again = Trainer(**trainer.recipe())
    assert again.recipe() == trainer.recipe() == trainer.copied().recipe()


def test_a_recorded_table_keeps_its_order() -> None:
    """It is part of the bytes of checkpoints and versions."""
    known = [
        *("optimizer", "loss", "schedule", "metrics", "augmentations", "callbacks", "record", "epochs", "batch_size"),
        *("seed", "keep", "clip_norm", "rollback", "average"),
    ]
    assert [name for name in Trainer(clip_norm=1.0, rollback=0.5, average=0.9).recipe() if name in known] == known
    assert list(load_recipe("digits").to_dict()["train"]) == [
        name for name, option in OPTIONS.items() if option.default is not None
    ]


def test_the_command_line_says_of_an_option_what_the_guide_says() -> None:
    commands: Any = typer.main.get_command(app)
    parameters = [one for name in ("train", "compare") for one in commands.commands[name].params]
    flags = {one.name: one.help for one in parameters}
    shared = flags.keys() & OPTIONS.keys()
    assert {"epochs", "batch_size", "seed"} <= shared
    assert {name: flags[name] for name in shared} == {name: OPTIONS[name].about for name in shared}


def test_types_are_checked_statically_and_values_when_they_come() -> None:
    # mypy, which is strict, fails where a comment below silences nothing.
    with pytest.raises(ConfigError, match="epochs must be a whole number, 1 or above, got '3'"):
        Trainer(epochs="3")  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ConfigError, match="Trainer has no argument epoch: did you mean epochs"):
        Trainer(epoch=3)  # type: ignore[call-arg]  # wrong on purpose
    with pytest.raises(ConfigError, match="keep must be one of 'last', 'best', got 'first'"):
        Trainer(keep="first")  # type: ignore[arg-type]  # wrong on purpose
    trainer = Trainer(optimizer="SGD(0.1)", metrics=[])
    assert [type(trainer.optimizer).__name__, trainer.epochs + 1, trainer.metrics] == ["SGD", 11, []]
    with pytest.raises(ConfigError, match="batch_size must be a whole number, 1 or above, got 0"):
        trainer.batch_size = 0


def test_the_declaration_alone_loads_no_numpy() -> None:
    import subprocess
    import sys

    code = "import sys; from cnnkit.training_options import OPTIONS; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_what_is_assigned_while_it_trains_holds_from_the_next_training_on() -> None:
    options = (trainer := Trainer(epochs=2)).copied()
    trainer.epochs = 3
    assert (options.epochs, trainer.epochs) == (2, 3)
    assert type(options) is TrainingOptions


if __name__ == "__main__":
    PAGE.write_text(TABLE.sub(lambda _: table(), PAGE.read_text("utf-8")), "utf-8")
