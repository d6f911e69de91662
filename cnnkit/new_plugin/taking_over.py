"""Takes a class out of a file, with all that it needs there: the file is read, and never executed."""

from __future__ import annotations

import ast
import builtins
import importlib.metadata
import symtable
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cnnkit.components.plugin_metadata import KINDS
from cnnkit.errors import ConfigError
from cnnkit.file_reading import read_plain
from cnnkit.wording import did_you_mean

BASES: Mapping[str, str] = {
    "Layer": "layer",
    "BatchCoupledLayer": "layer",
    "Merge": "join",
    "Optimizer": "optimizer",
    "Loss": "loss",
    "BatchCoupledLoss": "loss",
    "Dataset": "dataset",
    "Augmentation": "augmentation",
    "Mixing": "augmentation",
    "Metric": "metric",
    "CollectingMetric": "metric",
    "Schedule": "schedule",
    "Callback": "callback",
    "Runtime": "runtime",
    "GradientMethod": "gradient",
    "Initializer": "initializer",
    "Architecture": "architecture",
}
"""Classes of `cnnkit.plugin` that a component derives from, and what a plugin with one begins with."""
LARGEST = 1 << 22
"""Bytes of a file."""
OWN = {"cnnkit", "numpy"}
"""Modules that every plugin needs anyway."""
ALWAYS = {*vars(builtins), "__name__", "__file__", "__doc__"}
"""Names that every module has."""

Definition = ast.ClassDef | ast.FunctionDef | ast.Assign | ast.AnnAssign


@dataclass(frozen=True)
class Taken:
    """A class as the module of a plugin."""

    name: str
    kind: str
    source: str
    requirements: tuple[str, ...]
    """Distributions that it imports, beside cnnkit and NumPy."""


def take(file: Path, name: str, kind: str = "") -> Taken:
    """The class `name` of a file of Python, as a module with its imports and whatever else of the file it uses.

    kind: what it is; "" for what the class that it derives from says.
    Raises ConfigError for a file that cannot be read or parsed, or has no such class, and for a class that cannot stand
    by itself: what it uses must be imported or defined once, at the top level of the file.
    """
    try:
        text = read_plain(file, LARGEST).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read {file}: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}"
        ) from error
    if file.suffix == ".ipynb":
        raise ConfigError(
            f"{file} is a notebook: save its code as a .py file, such as with jupyter nbconvert --to script {file}, "
            "without lines that begin with % or !"
        )
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError) as error:
        hint = "; of a notebook, save the code as a .py file, without lines that begin with % or !"
        why = f"{error.msg} in line {error.lineno}" if isinstance(error, SyntaxError) else str(error)
        raise ConfigError(f"{file} cannot be read as Python: {why}{hint}") from error
    source = _Source(file, text, tree)
    cls = source.definitions.get(name)
    if not isinstance(cls, ast.ClassDef):
        names = [one for one, node in source.definitions.items() if isinstance(node, ast.ClassDef)]
        all_of_them = f"its classes are {', '.join(names)}" if names else "it has no class there"
        found = did_you_mean(name, names) or all_of_them
        raise ConfigError(f"{file} has no class {name} at its top level: {found}")
    kind = _kind(source, cls, kind)
    _check_arguments(file, cls)
    imports, definitions = source.needed_by(cls)
    hook, bases = KINDS[_component_kind(kind)]
    types = sorted(base.__name__ for base in bases)
    module = "\n".join(
        [
            f'"""{_sentence(cls)}"""',
            "",
            "from __future__ import annotations",
            "",
            *dict.fromkeys([*imports, f"from cnnkit.plugin import {', '.join([*types, 'hookimpl'])}"]),
            "",
            *(f"\n{part}\n" for part in definitions),
            "",
            "@hookimpl",
            f"def {hook}() -> list[type[{' | '.join(types)}]]:",
            f'    """The {_component_kind(kind)}."""',
            f"    return [{name}]",
            "",
        ]
    )
    return Taken(name, kind, module, source.requirements(imports))


def _component_kind(kind: str) -> str:
    return {"join": "layer", "gradient": "gradient method"}.get(kind, kind)


def _sentence(cls: ast.ClassDef) -> str:
    said = (ast.get_docstring(cls) or f"{cls.name} for cnnkit.").partition("\n\n")[0]
    return " ".join(said.split()).replace("\\", "\\\\").replace('"', "'")


def _kind(source: _Source, cls: ast.ClassDef, asked: str) -> str:
    """The kind of a class, by the first known class that it derives from, also by way of others of the file."""
    waiting, seen, found = [cls], set[str](), ""
    while waiting and not found:
        for base in waiting.pop(0).bases:
            called = ast.unparse(base).rpartition(".")[2]
            found = found or BASES.get(called, "")
            inner = source.definitions.get(called)
            if isinstance(inner, ast.ClassDef) and called not in seen:
                seen.add(called)
                waiting.append(inner)
    if not found and not asked:
        raise ConfigError(
            f"{source.file}: {cls.name} derives from {', '.join(map(ast.unparse, cls.bases)) or 'nothing'}, which does "
            f"not say what kind of component it is: add --kind, such as --kind layer"
        )
    if found and asked and found != asked:
        raise ConfigError(
            f"{source.file}: {cls.name} is of the kind {found} by what it derives from, and --kind says {asked}"
        )
    return found or asked


def _check_arguments(file: Path, cls: ast.ClassDef) -> None:
    """Raises ConfigError for a class that the checks cannot make, as it needs arguments and has no examples."""
    init = next((one for one in cls.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
    targets = [ast.unparse(t) for one in cls.body for t in _targets(one)]
    if init is None or "examples" in targets:
        return
    given = [*init.args.posonlyargs, *init.args.args][1:]
    needed = given[: len(given) - len(init.args.defaults)]
    needed += [one for one, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True) if default is None]
    if needed:
        names = ", ".join(one.arg for one in needed)
        raise ConfigError(
            f"{file}: {cls.name} needs {names}, so its tests could not make one: give the class examples, such as "
            f'examples = (Example("{cls.name}(3)", (3, 8, 8)),) with Example from cnnkit.plugin, or defaults'
        )


def _targets(node: ast.stmt) -> list[ast.expr]:
    match node:
        case ast.Assign(targets=targets):
            return targets
        case ast.AnnAssign(target=target):
            return [target]
    return []


class _Source:
    """What a file defines and imports at its top level."""

    def __init__(self, file: Path, text: str, tree: ast.Module) -> None:
        self.file, self._text, self._tree = file, text, tree
        self.definitions: dict[str, Definition] = {}
        self._imports: dict[str, ast.Import | ast.ImportFrom] = {}
        self._unclear: dict[str, str] = {}
        """Names that cannot be taken, and why."""
        for node in tree.body:
            self._note(node)

    def _note(self, node: ast.stmt) -> None:
        match node:
            case ast.Import() | ast.ImportFrom():
                for alias in node.names:
                    self._imports[alias.asname or alias.name.partition(".")[0]] = node
            case ast.ClassDef() | ast.FunctionDef():
                self._define(node.name, node)
            case ast.Assign() | ast.AnnAssign():
                for target in _targets(node):
                    for one in ast.walk(target):
                        if isinstance(one, ast.Name):
                            self._define(one.id, node)
            case _:
                for name in _bound(node):
                    self._unclear[name] = f"line {node.lineno} sets it inside of another statement"

    def _define(self, name: str, node: Definition) -> None:
        if name in self.definitions:
            self._unclear[name] = f"lines {self.definitions[name].lineno} and {node.lineno} both define it"
        self.definitions[name] = node

    def needed_by(self, cls: ast.ClassDef) -> tuple[list[str], list[str]]:
        """The imports and the definitions that a class needs, itself the last of them, each as text.

        Raises ConfigError for names that nothing in the file explains, or that cannot be taken.
        """
        waiting: list[Definition] = [cls]
        definitions: list[Definition] = [cls]
        imports: dict[str, None] = {}
        while waiting:
            for name in self._read_by(waiting.pop()):
                if name in self._unclear:
                    why = f"uses {name}, and {self._unclear[name]}: define it once, at the top level"
                    raise self._refusal(cls, why)
                if (inner := self.definitions.get(name)) is not None:
                    if inner not in definitions:
                        definitions.append(inner)
                        waiting.append(inner)
                elif name in self._imports:
                    imports[self._import(cls, name)] = None
                elif name not in ALWAYS:
                    star = any(alias.name == "*" for one in self._imports.values() for alias in one.names)
                    why = "and imports with * do not say where it is from" if star else "which the file does not define"
                    raise self._refusal(cls, f"uses {name}, {why}: import it by its name")
        ordered = sorted(definitions, key=lambda one: one.lineno)
        return sorted(imports), [self._segment(one) for one in ordered]

    def _read_by(self, node: Definition) -> list[str]:
        """The names of the module that a definition reads."""
        table = symtable.symtable(self._segment(node), str(self.file), "exec")
        return list(dict.fromkeys(_globals(table)))

    def _import(self, cls: ast.ClassDef, name: str) -> str:
        """The statement that imports one name."""
        node = self._imports[name]
        alias = next(one for one in node.names if (one.asname or one.name.partition(".")[0]) == name)
        if isinstance(node, ast.Import):
            module, text = alias.name, f"import {ast.unparse(alias)}"
        else:
            if node.level:
                raise self._refusal(cls, f"uses {name}, of a relative import: the plugin has no such module")
            module, text = node.module or "", f"from {node.module} import {ast.unparse(alias)}"
        top = module.partition(".")[0]
        beside = self.file.resolve().parent
        if (beside / f"{top}.py").exists() or (beside / top).is_dir():
            raise self._refusal(cls, f"imports {name} from {top}, which lies beside the file: put that into it")
        return text

    def requirements(self, imports: list[str]) -> tuple[str, ...]:
        """The distributions that these statements import from. Raises ConfigError for one that is not known."""
        found: dict[str, None] = {}
        known = importlib.metadata.packages_distributions()
        for text in imports:
            (node,) = ast.parse(text).body
            name = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name  # type: ignore[attr-defined]  # only imports are given
            top = str(name).partition(".")[0]
            if top in OWN or top in sys.stdlib_module_names:
                continue
            if top not in known:
                raise ConfigError(f"{self.file}: {text} is of no distribution that is installed: install it first")
            found[known[top][0]] = None
        return tuple(found)

    def _segment(self, node: Definition) -> str:
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(one.lineno for one in decorators)])
        return "\n".join(self._text.splitlines()[first - 1 : node.end_lineno])

    def _refusal(self, cls: ast.ClassDef, why: str) -> ConfigError:
        return ConfigError(f"{self.file}: {cls.name} cannot be taken, as it {why}")


def _bound(node: ast.AST) -> Iterator[str]:
    """The names that a statement and those inside of it set."""
    for one in ast.walk(node):
        match one:
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.alias():
                yield one.asname or one.name.partition(".")[0]


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    """The names of the module that are read in a scope and in those inside of it."""
    for symbol in table.get_symbols():
        outside = not symbol.is_assigned() if table.get_type() == "module" else symbol.is_global()
        if symbol.is_referenced() and outside:
            yield symbol.get_name()
    for inner in table.get_children():
        yield from _globals(inner)
