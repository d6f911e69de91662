"""`models show --recipe`: a file that trains the version again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from cnnkit.registry import Registry
from cnnkit.registry.format import sealing
from cnnkit.training.recipe import Recipe


def test_the_recipe_trains_the_same_weights(trained: Any, tmp_path: Path) -> None:
    shown = trained("models", "show", "tiny@1", "--recipe")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith("# The recipe of tiny@1.\n\n[model]\n")
    (tmp_path / "again.toml").write_text(shown.out)
    assert trained("train", "again.toml").code == 0
    first, second = Registry().read("tiny@1"), Registry().read("tiny@2")
    assert second.manifest.recipe == first.manifest.recipe
    assert {name: array.tobytes() for name, array in second.state.items()} == {
        name: array.tobytes() for name, array in first.state.items()
    }


def test_a_model_that_python_put_together_says_what_is_missing(trained: Any) -> None:
    record = Registry().read("tiny@1")
    Registry().save(record.model(), "mine", recipe={"train": (record.manifest.recipe or {})["train"]})
    result = trained("models", "show", "mine@1", "--recipe")
    assert (result.code, result.out) == (2, "")
    assert "mine@1 cannot be trained again: its recipe has no [model], [data], as of models that were built" in (
        result.err
    )


def test_one_document_at_a_time(trained: Any) -> None:
    result = trained("models", "show", "tiny@1", "--recipe", "--json")
    assert (result.code, result.out) == (2, "")
    assert (
        "--recipe prints TOML: remove --json, or remove --recipe, since the JSON document contains the recipe"
        in result.err
    )


def test_what_steers_a_terminal_stays_in_the_recipe_as_an_escape(trained: Any) -> None:
    record = Registry().read("tiny@1")
    recipe = dict(record.manifest.recipe or {})
    steering = 'Arrays("größe 😀 \x1b[2J\x9b\u202e\x7f")'
    recipe["data"] = recipe["data"] | {"dataset": steering}
    content = dataclasses.replace(record.manifest, recipe=recipe)
    record.version.path.write_bytes(sealing.pack(content.encode(), record.state))
    (record.version.path.parent / "digests.log").unlink()
    shown = trained("models", "show", "tiny@1", "--recipe").out
    assert all(line.isprintable() for line in shown.splitlines())
    assert "größe 😀" in shown
    assert Recipe.from_toml(shown, "shown").data.dataset == steering
