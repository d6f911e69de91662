"""`cnnkit models`: what is in the registry, and its aliases."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from cnnkit.cli.models_diff import diff
from cnnkit.cli.models_exchange import export_bundle, import_version
from cnnkit.cli.options import Debug, Json, Reference, RegistryFolder
from cnnkit.cli.output import counted, note, say, say_json, say_pairs, say_table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at the registry, and change it.")
app.command()(diff)
app.command()(export_bundle)
app.command(name="import")(import_version)


@app.command(name="list")
def list_models(registry: RegistryFolder = None, as_json: Json = False, _debug: Debug = False) -> None:
    """List the versions of all models."""
    from cnnkit.registry import Registry

    store = Registry(registry)
    entries = []
    for name in store.models():
        aliases = store.aliases(name)
        for version in store.versions(name):
            pointing = [alias for alias, number in aliases.items() if number == version.number]
            entries.append((version, pointing))
    if as_json:
        say_json(
            [{"ref": v.ref, "aliases": aliases, "path": str(v.path), "digest": v.digest} for v, aliases in entries]
        )
    elif entries:
        rows = [(v.ref, ", ".join(aliases), v.digest[:12] or "damaged", v.path) for v, aliases in entries]
        say_table(("reference", "aliases", "digest", "file"), rows)
    else:
        note(f"the registry {store.path} is empty; `cnnkit train` registers a first model")


@app.command()
def show(ref: Reference, registry: RegistryFolder = None, as_json: Json = False, _debug: Debug = False) -> None:
    """Show what a version says about itself.

    Works without the plugins of its layers.
    """
    from cnnkit.registry import Registry

    record = Registry(registry).read(ref)
    version, manifest = record.version, record.manifest
    if as_json:
        about = {"ref": version.ref, "path": str(version.path), "digest": version.digest}
        say_json(about | dataclasses.asdict(manifest))
        return
    pairs: dict[str, object] = {
        "reference": version.ref,
        "file": version.path,
        "digest": version.digest,
        "created": manifest.created,
        "dataset": (manifest.dataset or {}).get("name", "unknown"),
        "input": f"{' x '.join(map(str, manifest.input_shape))} {manifest.input_dtype}",
        "labels": ", ".join(manifest.labels) or "none",
        "parameters": f"{sum(array.size for array in record.state.values()):,} with buffers",
        "epochs": len(manifest.history.get("loss", ())),
        "versions": ", ".join(f"{name} {number}" for name, number in manifest.versions.items()),
    }
    say_pairs(pairs | {f"test {name}": value for name, value in manifest.metrics.items()})
    say("layers")
    for layer in manifest.layers:
        say(f"  {layer}")


@app.command()
def alias(
    ref: Reference,
    name: Annotated[str, typer.Argument(metavar="ALIAS", help="Its new name, such as production.")],
    remove: Annotated[bool, typer.Option("--remove", help="Forget the alias; REF may be the model's name.")] = False,
    registry: RegistryFolder = None,
    _debug: Debug = False,
) -> None:
    """Let an alias point to a version.

    Afterwards name@ALIAS means that version, until the alias is set to another one.
    """
    from cnnkit.registry import Registry
    from cnnkit.registry.references import parse

    store = Registry(registry)
    if remove:
        model = parse(ref).name
        store.remove_alias(model, name)
        say(f"removed {model}@{name}")
    else:
        version = store.set_alias(ref, name)
        say(f"{version.name}@{name} is {version.ref}")


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(metavar="MODEL", help="One model; all by default.")] = None,
    registry: RegistryFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Check every file of the registry.

    Compares each with its hash and the digest log; exits 1 if something is wrong.
    """
    from cnnkit.errors import CheckError
    from cnnkit.registry import Registry

    store = Registry(registry)
    problems = store.verify(name)
    if as_json:
        say_json({"ok": not problems, "problems": [{"path": str(p.path), "problem": p.text} for p in problems]})
    for problem in () if as_json else problems:
        say(str(problem))
    if problems:
        raise CheckError(f"{counted(len(problems), 'problem')} in the registry {store.path}")
    if not as_json:
        say(f"{store.path}: everything is as it was registered")


@app.command()
def delete(
    ref: Reference,
    yes: Annotated[bool, typer.Option("--yes", help="Delete it; without this nothing is done.")] = False,
    registry: RegistryFolder = None,
    _debug: Debug = False,
) -> None:
    """Delete a version for ever.

    Its number is not used again.
    """
    from cnnkit.errors import ConfigError
    from cnnkit.registry import Registry

    store = Registry(registry)
    version = store.find(ref)
    if not yes:
        raise ConfigError(f"{version.ref} ({version.path}) would be deleted for ever: add --yes to do it")
    store.delete(version.ref)
    say(f"deleted {version.ref}")


@app.command()
def gc(registry: RegistryFolder = None, as_json: Json = False, _debug: Debug = False) -> None:
    """Remove what killed processes left behind.

    Those are temporary files; one that a living process is writing stays.
    """
    from cnnkit.registry import Registry

    store = Registry(registry)
    removed = [str(path) for path in store.gc()]
    if as_json:
        say_json({"removed": removed})
    for path in () if as_json else removed:
        say(f"removed {path}")
    if not removed:
        note(f"{store.path}: nothing to remove")
