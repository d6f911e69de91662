"""`python -m cnnkit_optuna RECIPE SPACE --trials 20`: search, register the best model, and write its recipe."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cnnkit import CnnkitError
from cnnkit_optuna.search import search


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, print what was found, and return the exit code."""
    parser = argparse.ArgumentParser("python -m cnnkit_optuna", description="Find hyperparameters of a recipe.")
    parser.add_argument("recipe", help="a .toml file, or the name of a recipe that ships with cnnkit")
    parser.add_argument("space", help="a .toml file with the tables [search] and [recipe]")
    parser.add_argument("--trials", type=int, default=20, help="how many trainings to begin")
    parser.add_argument("--monitor", help="the quantity that decides, such as validation_loss")
    parser.add_argument("--seed", type=int, default=0, help="of what Optuna draws")
    parser.add_argument("--storage", help="where the study is kept and continued, such as sqlite:///study.db")
    parser.add_argument("--registry", help="the folder of the registry; as of cnnkit if it is not given")
    parser.add_argument("--output", help="the .toml file that the best recipe is written to; it must not exist")
    given = parser.parse_args(arguments)
    if given.output and Path(given.output).exists():
        parser.error(f"{given.output} exists: name another file")
    try:
        found = search(
            given.recipe,
            given.space,
            trials=given.trials,
            monitor=given.monitor,
            seed=given.seed,
            storage=given.storage,
            registry=given.registry,
        )
    except CnnkitError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    states = [trial.state.name for trial in found.study.trials]
    counts = ", ".join(f"{states.count(state)} {state.lower()}" for state in dict.fromkeys(states))
    lines = [f"{len(states)} trials: {counts}", f"{found.monitor} {found.value:.6g}"]
    lines += [f"  {key} = {value!r}" for key, value in found.overrides.items()]
    lines += [f"registered as {found.ref}"] if found.ref else []
    if given.output:
        Path(given.output).write_text(found.recipe.to_toml(), "utf-8")
        lines.append(f"recipe written to {given.output}")
    sys.stdout.write("\n".join([*lines, ""]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
