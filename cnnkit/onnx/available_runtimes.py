"""Which runtimes there are to validate with: those that come with cnnkit, and those of plugins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from cnnkit.components import Catalog, Runtime, installed_catalog
from cnnkit.errors import CnnkitError, ConfigError
from cnnkit.onnx.runtimes import ensure_installed, install_command, is_installed

ALL = "all"
"""In the place of a runtime: all that are installed."""


@dataclass(frozen=True)
class Available:
    """Runtimes that can be used, and why others cannot."""

    runtimes: list[Runtime]
    unusable: dict[str, str] = field(default_factory=dict)
    """The reason by the name of the runtime."""
    broken: list[str] = field(default_factory=list)
    """What is wrong with plugins that may provide more of them."""

    def left_out(self) -> tuple[str, ...]:
        """A sentence for each runtime that takes no part, and for each broken plugin."""
        return *(f"{name} was skipped: {reason}" for name, reason in self.unusable.items()), *self.broken


def available_runtimes(catalog: Catalog | None = None) -> Available:
    """All runtimes that are installed, each without arguments.

    It asks every plugin, and imports those that provide one. catalog: where to look; `installed_catalog()` if None.
    """
    catalog = catalog or installed_catalog()
    found = Available([])
    for plugin, classes in catalog.all_classes(Runtime.kind):
        for name, cls in classes.items():
            runtime = cast(type[Runtime], cls)
            if not is_installed(runtime):
                found.unusable[name] = f"{runtime.requires} is not installed; run: {install_command(runtime)}"
                continue
            try:
                found.runtimes.append(cast(Runtime, catalog.build(Runtime.kind, f"{plugin.distribution}:{name}()")))
            except CnnkitError as error:
                found.unusable[name] = f"choose it by its expression; {error}"
        found.broken.extend(
            f"{plugin.distribution} {plugin.version} is broken and may provide a runtime: {problem}"
            for problem in catalog.faults(plugin, Runtime.kind)
        )
    return found


def built(runtimes: Sequence[Runtime | str]) -> list[Runtime]:
    """Runtimes from themselves or their expressions. Raises ConfigError for none, OnnxError for one not installed."""
    made = [cast(Runtime, installed_catalog().build(Runtime.kind, runtime)) for runtime in runtimes]
    if not made:
        raise ConfigError("validation needs at least one runtime, got an empty list")
    for runtime in made:
        ensure_installed(runtime)
    return made


def chosen_runtimes(runtimes: Sequence[Runtime | str]) -> Available:
    """The runtimes, in their order; each of "all" once more if it is named, too, as another object.

    Raises what `built` raises.
    """
    if ALL not in runtimes:
        return Available(built(runtimes))
    chosen = Available([])
    for one in runtimes:
        found = available_runtimes() if one == ALL else Available(built([one]))
        chosen.runtimes.extend(found.runtimes)
        chosen.unusable.update(found.unusable)
        chosen.broken.extend(found.broken)
    return chosen
