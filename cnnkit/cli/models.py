"""`cnnkit models`: what is in the registry, and its notes."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from cnnkit.cli import models_alias
from cnnkit.cli.confirmation import Yes, confirm
from cnnkit.cli.models_diff import diff
from cnnkit.cli.models_exchange import export_bundle, import_version
from cnnkit.cli.models_onnx import origin_of
from cnnkit.cli.options import Debug, Json, Reference, RegistryFolder
from cnnkit.cli.output import note, say, say_json, say_pairs, say_table, warn
from cnnkit.cli.stdout import answers
from cnnkit.printable_text import STEERING, on_one_line
from cnnkit.waiting_line import waiting
from cnnkit.wording import counted

if TYPE_CHECKING:
    from cnnkit.registry import Entry, Record, Registry

app = typer.Typer(rich_markup_mode=None)
app.add_typer(models_alias.app, name="alias")
app.command()(diff)
app.command()(export_bundle)
app.command(name="import")(import_version)
T = TypeVar("T")


@app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """Inspect and change the registry."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(name="list")
def list_models(
    name: Annotated[str | None, typer.Option(metavar="MODEL", help="One model; all by default.")] = None,
    where: Annotated[
        str,
        typer.Option(
            metavar="CONDITIONS",
            help='Conditions, such as "accuracy>0.98 and dataset=mnist". Operators: = != < <= > >= ~ (contains); '
            "fields: metrics, name, version, created, dataset, tag.KEY, seed, epochs, parameters, keys of the recipe "
            "such as train.optimizer.",
        ),
    ] = "",
    registry: RegistryFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """List the versions of all models."""
    from cnnkit.registry import Registry

    store = Registry(registry)
    entries = store.search(where, name)
    if as_json:
        say_json([_document(entry) for entry in entries])
    elif entries:
        say_table(
            ("reference", "aliases", "created", "dataset", "metric", "tags", "digest"),
            [_row(entry) for entry in entries],
            ("digest", "created", "dataset"),
        )
    elif where or name:
        note("no version matches the conditions" if where else f"the model {name} has no versions left")
    else:
        note(f"the registry at {store.path} is empty; `cnnkit train` registers a first model")


def _document(entry: Entry) -> dict[str, Any]:
    version, facts = entry.version, entry.facts
    document = {"ref": entry.ref, "path": str(version.path), "digest": version.digest, "damaged": facts is None}
    document |= {"problem": entry.problem or None}
    keys = ("created", "dataset", "metrics", "parameters", "seed", "epochs", "recipe")
    kept = {key: getattr(facts, key, None) for key in keys}
    return document | {"aliases": list(entry.aliases), "tags": entry.tags} | kept


def _row(entry: Entry) -> tuple[str, ...]:
    facts = entry.facts
    aliases, tags = ", ".join(entry.aliases), ", ".join(f"{key}={value}" for key, value in entry.tags.items())
    if facts is None:
        return (entry.ref, aliases, "", "", "", tags, entry.problem)
    metric = next((name for name in ("accuracy", "loss") if name in facts.metrics), "")
    value = f"{metric} {facts.metrics[metric]:.4g}" if metric else ""
    created = facts.created[:16].replace("T", " ")  # UTC, as everywhere
    return (entry.version.ref, aliases, created, facts.dataset or "", value, tags, facts.digest[:12])


@app.command()
def show(
    ref: Reference,
    recipe: Annotated[
        bool, typer.Option("--recipe", help="Print only its recipe, as a TOML file for cnnkit train.")
    ] = False,
    registry: RegistryFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Show everything recorded about a version.

    Works without the plugins of its layers.
    """
    from cnnkit.errors import ConfigError
    from cnnkit.registry import Registry

    if recipe and as_json:
        raise ConfigError(
            "--recipe prints TOML: remove --json, or remove --recipe, since the JSON document contains the recipe"
        )
    store = Registry(registry)
    record = store.read(ref)
    if recipe:
        _show_recipe(record)
        return
    version, manifest = record.version, record.manifest
    notes = _notes(store, record)
    if as_json:
        about = {"ref": version.ref, "path": str(version.path), "digest": version.digest}
        verdict = notes["verdict"] and dataclasses.asdict(notes["verdict"])
        say_json(about | dataclasses.asdict(manifest) | notes | {"verdict": verdict})
        return
    pairs: dict[str, object] = {
        "reference": version.ref,
        "file": version.path,
        "digest": version.digest,
        "description": notes["description"] or "none",
        "aliases": ", ".join(
            alias + ("" if require == "none" else f" (requires {require})")
            for alias, require in notes["aliases"].items()
        )
        or "none",
        "tags": ", ".join(f"{key}={value}" for key, value in notes["tags"].items()) or "none",
        "validation": notes["verdict"] or "never",
        "created": manifest.created,
        "dataset": (manifest.dataset or {}).get("name", "unknown"),
        "input": f"{' x '.join(map(str, manifest.input_shape))} {manifest.input_dtype}{_range(manifest.input_range)}",
        "task": manifest.task.gives if manifest.task else "unknown",
        "labels": ", ".join(manifest.labels) or "none",
        "parameters": f"{sum(array.size for array in record.state.values()):,} with buffers",
        "epochs": len(manifest.history.get("loss", ())),
        **origin_of(manifest.settings),
        **_kept(manifest.settings),
        **_ended(manifest.settings),
        "versions": ", ".join(f"{name} {number}" for name, number in manifest.versions.items()),
    }
    say_pairs(pairs | {f"test {name}": value for name, value in manifest.metrics.items()})
    if manifest.environment:
        say("saved on")
        say_pairs({f"  {name}": text for name, text in manifest.environment.items()})
    say("layers")
    for layer in manifest.outline:
        say(f"  {on_one_line(layer)}")


def _show_recipe(record: Record) -> None:
    """Print the recipe; characters that steer a terminal as the escapes that TOML has for them."""
    from cnnkit.components.plugin_metadata import BUILT_IN
    from cnnkit.evaluation.reproduce import whole_recipe

    text = whole_recipe(record).to_toml()
    plugins = {origin.distribution for origin in record.manifest.components.values()} - {"", BUILT_IN}
    needed = f", which needs {', '.join(sorted(plugins))}" if plugins else ""
    escaped = STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    typer.echo(f"# The recipe of {record.version.ref}{needed}.\n\n{escaped}", file=answers(), nl=False)


def _range(input_range: tuple[float, float] | None) -> str:
    return f", trained on {input_range[0]:g} to {input_range[1]:g}" if input_range else ""


def _kept(settings: dict[str, Any]) -> dict[str, object]:
    """The epoch whose weights a version has, if that was chosen; a file may say anything there."""
    epoch = settings.get("kept_epoch")
    return {"kept epoch": epoch} if isinstance(epoch, int) else {}


def _ended(settings: dict[str, Any]) -> dict[str, object]:
    """How a training ended before all of its epochs were done."""
    reason, steps = settings.get("reason"), settings.get("partial_steps")
    told = [reason] if isinstance(reason, str) else []
    if isinstance(steps, int):
        told.append(f"with {counted(steps, 'step')} of a further epoch in the weights")
    return {"ended": ", ".join(told)} if told else {}


def _notes(store: Registry, record: Record) -> dict[str, Any]:
    """The notes of a version; damaged ones are skipped with a warning."""
    name, number, ref = record.version.name, record.version.number, record.version.ref
    pointing = [alias for alias, to in store.aliases(name).items() if to == number]
    return {
        "description": _unless_damaged(lambda: store.description(ref), ""),
        "aliases": {alias: store.requirement(name, alias) for alias in pointing},
        "tags": store.tags(ref),
        "verdict": _unless_damaged(lambda: store.verdict(ref), None),
    }


def _unless_damaged(read: Callable[[], T], otherwise: T) -> T:
    from cnnkit.errors import RegistryError

    try:
        return read()
    except RegistryError as error:
        warn(str(error))
        return otherwise


@app.command()
def describe(
    ref: Reference,
    text: Annotated[str | None, typer.Argument(help='A new description; "" removes it.')] = None,
    yes: Yes = False,
    registry: RegistryFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Print or write a version's description."""
    from cnnkit.registry import Registry

    store = Registry(registry)
    version = store.find(ref)
    if text == "" and store.description(version.ref):
        confirm(f"remove the description of {version.ref}", yes)
    if text is not None:
        store.describe(version.ref, text)
    kept = store.description(version.ref)
    if as_json:
        say_json({"ref": version.ref, "description": kept})
    elif text is None and kept:
        say(kept)
    elif text is None:
        note(f"{version.ref} has no description")
    else:
        say(f"{'described' if kept else 'removed the description of'} {version.ref}")


@app.command()
def tag(
    ref: Reference,
    tags: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Tags to set; repeatable.")] = None,
    remove: Annotated[list[str] | None, typer.Option(metavar="KEY", help="A tag to remove; repeatable.")] = None,
    yes: Yes = False,
    registry: RegistryFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Print, set or remove a version's tags."""
    from cnnkit.errors import ConfigError
    from cnnkit.registry import Registry
    from cnnkit.registry.notes import check_key

    store = Registry(registry)
    version = store.find(ref)
    new = [text.partition("=") for text in tags or ()]
    if wrong := ["".join(parts) for parts in new if not all(parts)]:
        raise ConfigError(
            f"expected a tag as KEY=VALUE, such as stage=candidate, got {wrong[0]!r}; --remove removes one"
        )
    if missing := [key for key in remove or () if key not in store.tags(version.ref)]:
        raise ConfigError(f"{version.ref} has no tag {missing[0]!r}; nothing was changed")
    for key, _, _ in new:
        check_key(key)
    if remove:
        confirm(f"remove {counted(len(remove), 'tag')} of {version.ref}: {', '.join(remove)}", yes)
    for key in remove or ():
        store.remove_tag(version.ref, key)
    for key, _, value in new:
        store.set_tag(version.ref, key, value)
    kept = store.tags(version.ref)
    if as_json:
        say_json({"ref": version.ref, "tags": kept})
    elif kept:
        say_pairs(kept)
    else:
        note(f"{version.ref} has no tags")


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(metavar="MODEL", help="One model; all by default.")] = None,
    registry: RegistryFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Check every file of the registry.

    Compares each with its hash and the digest log; exits with 1 if something is wrong.
    """
    from cnnkit.errors import CheckError
    from cnnkit.registry import Registry

    store = Registry(registry)
    with waiting(f"checking {store.path}"):
        problems = store.verify(name)
    if as_json:
        say_json({"ok": not problems, "problems": [{"path": str(p.path), "problem": p.text} for p in problems]})
    for problem in () if as_json else problems:
        say(str(problem))
    if problems:
        raise CheckError(f"{counted(len(problems), 'problem')} in the registry at {store.path}")
    if not as_json:
        say(f"{store.path}: everything is as it was registered")


@app.command()
def delete(
    ref: Reference,
    yes: Yes = False,
    registry: RegistryFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Delete a version permanently.

    Also deletes its notes; its number is never reused.
    """
    from cnnkit.registry import Registry

    store = Registry(registry)
    version = store.find(ref if "@" in ref else _which(store, ref, yes))
    confirm(f"delete {version.ref} ({version.path}) and its notes permanently", yes)
    store.delete(version.ref)
    if as_json:
        say_json({"deleted": version.ref, "path": str(version.path), "digest": version.digest})
    else:
        say(f"deleted {version.ref}")


def _which(store: Registry, name: str, yes: bool) -> str:
    """The version of a model that is to be deleted, as the user says when asked; a name alone does not say which.

    Raises ConfigError if there is nobody to ask, or no such version.
    """
    from cnnkit.errors import ConfigError

    numbers = [str(version.number) for version in store.versions(name)]
    there = f"{name} has {counted(len(numbers), 'version')}" + (f": {', '.join(numbers[-20:])}" if numbers else "")
    if not numbers or yes or not sys.stdin.isatty():
        raise ConfigError(f"which version should be deleted? {there}; name it, as in {name}@{(numbers or ['1'])[-1]}")
    note(f"{there}; which one should be deleted?")
    answer = sys.stdin.readline().strip().removeprefix(f"{name}@")
    if answer not in numbers:
        raise ConfigError(f"expected one of these numbers, got {answer!r}: nothing was deleted")
    return f"{name}@{answer}"


@app.command()
def gc(yes: Yes = False, registry: RegistryFolder = None, as_json: Json = False, _debug: Debug = False) -> None:
    """Remove what killed processes left behind.

    Removes temporary files and notes of deleted versions, but not what a running process is writing.
    """
    from cnnkit.registry import Registry

    store = Registry(registry)
    found = store.leftovers()
    if found:
        confirm(f"remove {counted(len(found), 'file')}: {', '.join(map(str, found))}", yes)
    removed = [str(path) for path in store.gc()] if found else []
    if as_json:
        say_json({"removed": removed})
    for path in () if as_json else removed:
        say(f"removed {path}")
    if not removed:
        note(f"{store.path}: nothing to remove")
