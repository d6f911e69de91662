"""Which image files count: those that can be read, of one class each, and each content once in its part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cnnkit.data.formats.image_tree import ImageFile
from cnnkit.errors import DataError
from cnnkit.printable_text import on_one_line
from cnnkit.wording import counted

NAMED = 20
"""How many files a message names."""
Contents = dict[ImageFile, str]
"""Image files in their order, each with the hash of what is in it."""


def usable(contents: Contents, unreadable: Mapping[str, str], root: str, skipping: str) -> tuple[Contents, list[str]]:
    """The files that are images of one class, and a warning of the others.

    unreadable: why a content is no image, by its hash; skipping: the dataset that leaves the others out, "" if this one
    does. Raises DataError for the others if not.
    """
    wrong = [f"{file.path}: {unreadable[one]}" for file, one in contents.items() if one in unreadable]
    by_class: dict[str, dict[str, str]] = {}
    for file, one in contents.items():
        by_class.setdefault(one, {}).setdefault(file.label, file.path)
    ambiguous = {one: found for one, found in by_class.items() if len(found) > 1 and one not in unreadable}
    wrong += [f"{' = '.join(found.values())}: the same image in several classes" for found in ambiguous.values()]
    if not wrong:
        return contents, []
    what = f"{root}: {counted(len(wrong), 'image')} that cannot be used"
    if skipping:
        raise DataError(f"{_report(what, wrong)}\nreplace or remove them, or leave them out with {skipping}")
    left = {file: one for file, one in contents.items() if one not in unreadable and one not in ambiguous}
    return left, [_report(f"{what}, left out", wrong)]


def once(contents: Contents, root: str) -> tuple[Contents, list[str]]:
    """The files whose content no earlier one in their part has; warnings of the others, and of what is in two parts."""
    first: dict[str, ImageFile] = {}
    left: Contents = {}
    copies: list[str] = []
    shared: list[str] = []
    for file, one in contents.items():
        before = first.setdefault(one, file)
        if before is file or before.part != file.part:
            left[file] = one
        if before is not file:
            (copies if before.part == file.part else shared).append(f"{file.path} = {before.path}")
    warnings = []
    if copies:
        warnings.append(
            _report(f"{root}: {counted(len(copies), 'image')} with the content of another one, left out", copies)
        )
    if shared:
        what = f"{counted(len(shared), 'image')} in two parts, so that results look too good"
        warnings.append(_report(f"{root}: {what}", shared))
    return left, warnings


def _report(what: str, items: Sequence[str]) -> str:
    shown = "".join(f"\n  {on_one_line(item)}" for item in items[:NAMED])
    return f"{what}:{shown}" + (f"\n  and {len(items) - NAMED:,} more" if len(items) > NAMED else "")
