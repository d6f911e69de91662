"""What a model file may choose in addition to its layers: components of cnnkit, and of trusted distributions.

A recipe names its optimizer, loss, metrics, dataset and so on, and a model file may come from anyone. It alone never
imports a plugin: the user decides, by naming the distribution.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from cnnkit.components import Component, installed_catalog
from cnnkit.components.distribution_names import normalized
from cnnkit.components.expressions import Call, parse
from cnnkit.components.plugin_metadata import BUILT_IN
from cnnkit.errors import CnnkitError, ConfigError, RegistryError
from cnnkit.registry.environment import OWN
from cnnkit.registry.format.manifest import Manifest, Origin, is_distribution
from cnnkit.registry.model_manifest import is_installed, present_name, recipe_key, tied

ENVIRONMENT = "CNNKIT_TRUST"
OPTION = "--trust"

Trust = frozenset[str]
"""Distributions that the user trusts, by their normalized names."""


def trusted(names: Iterable[str] | None = None) -> Trust:
    """The distributions that the user trusts: these, and those that CNNKIT_TRUST lists, with commas between them.

    Raises ConfigError for what is not the name of a distribution, and for cnnkit itself.
    """
    listed = filter(None, map(str.strip, os.environ.get(ENVIRONMENT, "").split(",")))
    given = [(OPTION, name) for name in names or ()] + [(ENVIRONMENT, name) for name in listed]
    for where, name in given:
        if not name or not is_distribution(name):
            raise ConfigError(f"{where}: expected the name of a distribution, such as cnnkit-elastic, got {name!r}")
        if normalized(name) == BUILT_IN:
            raise ConfigError(
                f"{where}: cnnkit's own components need no trust, and what opens a file or starts a download is given "
                "with --dataset; name the distribution of a plugin"
            )
    return frozenset(normalized(name) for _, name in given)


def build(kind: str, expression: str | Call, manifest: Manifest, trust: Trust = frozenset()) -> Component:
    """The component that a version names, if cnnkit or a trusted distribution provides it; imports no other plugin.

    Where it comes from is what the expression says, `distribution:Name(...)`, else what the manifest says. Of older
    files, which do not, a name is cnnkit's own or that of the one trusted distribution that has it.
    Raises RegistryError, saying which distribution to trust or to install, or why it cannot be built.
    """
    try:
        call = expression if isinstance(expression, Call) else parse(expression)
        return installed_catalog().build(kind, tied(call, lambda one: _distribution(kind, one, manifest, trust)))
    except RegistryError:
        raise
    except CnnkitError as error:  # a file may ask for anything
        raise RegistryError(str(error)) from error


def is_built_in(component: Component) -> bool:
    """Whether cnnkit itself provides a component."""
    plugin = installed_catalog().origin(type(component))
    return plugin is not None and plugin.distribution == BUILT_IN


def _distribution(kind: str, call: Call, manifest: Manifest, trust: Trust) -> str:
    """Where a component may be taken from. Raises RegistryError for a distribution that is not trusted or installed."""
    recorded = call.distribution or manifest.components.get(recipe_key(kind, call.name), Origin()).distribution
    if not recorded:
        return _brought(kind, call.name, manifest, trust)
    if not is_distribution(recorded):
        raise RegistryError(f"{recorded!r} is not the name of a distribution")
    name = present_name(recorded)
    if name != BUILT_IN and not is_installed(name):
        add = "" if name in trust else f" and add {OPTION} {name}"
        raise RegistryError(
            f"the file says that {call.name} comes from {name}, which is not installed: if you trust that "
            f"distribution, run pip install {name}{add}"
        )
    if name != BUILT_IN and name not in trust:
        raise RegistryError(f"{call.name} comes from {name}: if you trust it, add {OPTION} {name}")
    return recorded


def _brought(kind: str, name: str, manifest: Manifest, trust: Trust) -> str:
    """The distribution that provides a name where the file does not say which: cnnkit, else one of those trusted."""
    catalog = installed_catalog()
    plugins = [plugin for plugin in catalog.plugins if normalized(plugin.distribution) in trust | {BUILT_IN}]
    found = [plugin.distribution for plugin in plugins if name in catalog.names_of(plugin, kind)]
    if BUILT_IN in found or len(found) == 1:
        return BUILT_IN if BUILT_IN in found else found[0]
    if found:
        raise RegistryError(
            f"{' and '.join(found)} provide {name}, and the file does not say which was used: trust one of them"
        )
    took_part = [one for one in manifest.versions if one not in OWN and is_distribution(one)]
    hints = [f"{', '.join(took_part)} took part in the training"] if took_part else []
    hints += [f"{one.distribution} is broken: {text}" for one in plugins for text in catalog.faults(one, kind)]
    asked = ", ".join(one if is_installed(one) else f"{one} (not installed)" for one in sorted(trust))
    without = f"none of {asked} provides" if trust else "the file does not say what provides"
    add = f"if you trust the distribution that does, add {OPTION} DIST"
    raise RegistryError("; ".join([f"{without} the {kind} {name}: {add}", *hints]))
