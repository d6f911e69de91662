"""`cnnkit plugins new`: the beginning of a plugin, as a folder that is tested at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.options import Debug, Json
from cnnkit.cli.output import say, say_command, say_json
from cnnkit.user_folders import expanded


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the distribution and its folder: cnnkit-scale.")],
    kind: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="layer, join, optimizer, loss, dataset, augmentation, metric, schedule, callback, runtime, gradient, "
            "initializer or architecture; with --from, what the class derives from says it.",
        ),
    ] = "",
    taken: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="FILE.py:CLASS", help="Take over a class, with the imports and definitions that it needs."
        ),
    ] = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Begin a plugin in a new folder.

    The folder has a working component, tests, packaging and a license. A file that is taken from is read, not executed.
    """
    from cnnkit.errors import ConfigError
    from cnnkit.new_plugin import KINDS, create, take

    source = None
    if taken is not None:
        file, _, cls = taken.rpartition(":")
        if not file or not cls.isidentifier():
            raise ConfigError(f"--from: expected a file and a class, such as notebook.py:MyLayer, got {taken!r}")
        source = take(expanded(file), cls, kind)
    elif not kind:
        raise ConfigError(f"--kind: expected one of {', '.join(KINDS)}")
    files = create(Path(), name, source.kind if source else kind, source)
    if as_json:
        say_json({"name": name, "kind": source.kind if source else kind, "files": list(map(str, files))})
        return
    for path in files:
        say(str(path))
    say("next:")
    say_command(f'  cd {name} && pip install -e ".[test]" && pytest')
