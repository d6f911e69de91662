"""What a user names to get data: a dataset's expression, or the path of data."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import cast

from cnnkit import file_kinds as kinds
from cnnkit.components.catalog import installed_catalog
from cnnkit.components.contracts import Dataset
from cnnkit.data.at_path import ARRAYS, TABLES, dataset_at, is_data
from cnnkit.errors import ComponentError, DataError
from cnnkit.user_folders import expanded
from cnnkit.wording import did_you_mean

EXPECTED = f"a folder of images, a file of arrays ({', '.join(ARRAYS)}) or a table ({', '.join(TABLES)})"
NETWORKS = (".ckpt", ".keras", ".onnx", ".pb", ".pt", ".pth", ".safetensors", ".tflite")
"""How the names of files with networks of other libraries end."""
_EXPRESSION = re.compile(r"\s*(?:[\w.-]+:)?\w+\s*\(.*\)\s*", re.DOTALL)
_SUFFIX = re.compile(r"\.[A-Za-z]\w{0,10}")

_UNPACK = "unpack it first, and give the folder that comes out"
_NO_SAMPLES = "it holds a network, not samples to train on"
ADVICE = {
    **dict.fromkeys((kinds.ZIP, kinds.GZIP, "a tar archive", "a bzip2 archive", "an xz archive"), _UNPACK),
    **dict.fromkeys(("a 7z archive", "a Zstandard archive"), _UNPACK),
    **dict.fromkeys(kinds.IMAGES, "one image is no dataset; give a folder with a folder of images for each class"),
    **dict.fromkeys((kinds.ONNX, "a PyTorch file", "a Python pickle"), _NO_SAMPLES),
    kinds.MODEL: "`cnnkit reproduce NAME@VERSION` trains a registered model again",
    kinds.ARRAY: 'it has no targets; save both in one file, as np.savez("data.npz", x=x, y=y) does',
    kinds.ARRAYS: "let its name end in .npz",
    kinds.HDF5: "let its name end in .h5, if it has the arrays x and y",
    kinds.TABLE: "let its name end in .csv",
    kinds.TEXT: "the name of a table ends in .csv, that of a recipe in .toml",
    kinds.POINTER: "",
    kinds.PAGE: "",
}
"""What to do with a file of each kind; nothing more where the kind says it."""


def named_dataset(name: str) -> Dataset:
    """The dataset of an expression such as `MNIST()`, or the one for a folder of images, a file of arrays or a table.

    The name of a dataset that is installed is an expression, even if a folder is called so, too.
    Raises DataError for a path of anything else, and what `dataset_at` and `Catalog.build` raise.
    """
    if not _is_installed(name):
        if is_data(expanded(name)) and not is_expression(name):
            return dataset_at(expanded(name))
        if looks_like_path(name):
            raise DataError(why_no_data(name))
    return cast(Dataset, installed_catalog().build("dataset", name))


def is_expression(text: str) -> bool:
    """Whether a text is a call, such as `Table("boxes.csv", "kind")`, and not the name of what is there."""
    return _EXPRESSION.fullmatch(text) is not None and not os.path.exists(text)


def looks_like_path(text: str) -> bool:
    """Whether a text that is not the name of anything else is the path of something, which need not be there."""
    if is_expression(text):
        return False
    has_ending = _SUFFIX.fullmatch(Path(text).suffix) is not None
    return has_ending or any(mark in text for mark in (os.sep, "/")) or expanded(text).exists()


def why_no_data(name: str) -> str:
    """Why there is nothing to train on at a path that `is_data` refuses, and what to do."""
    path = expanded(name)
    if not path.exists():
        what = "folder" if name.endswith(("/", os.sep)) else "file or folder"
        return f"there is no {what} {name}{_near(path)}"
    kind, what = _content(path)
    if path.suffix.lower() in NETWORKS and kind not in (kinds.POINTER, kinds.PAGE):
        advice = _NO_SAMPLES
    else:
        advice = ADVICE.get(kind, f"expected {EXPECTED}")
    return f"{name} is nothing to train on, {what}{advice and ': '}{advice}"


def _content(path: Path) -> tuple[str, str]:
    """The kind of a file, and a clause that says so."""
    if not path.is_file():  # opening a pipe would wait forever
        return "", "this is neither a file nor a folder"
    try:
        with path.open("rb") as file:
            content = file.read(kinds.SAMPLE)
    except OSError as error:
        return "", f"this cannot be read: {error.strerror}"
    return kinds.kind_of(content), kinds.seems(content)


def _near(path: Path) -> str:
    """The names in its folder that are close to its own, as a question."""
    try:
        names = [one for one in os.listdir(path.parent) if not one.startswith(".")]
    except OSError:
        return ""
    hint = did_you_mean(path.name, names)
    return hint and f"; {hint}"


def _is_installed(name: str) -> bool:
    if not name.isidentifier():
        return False
    try:
        installed_catalog().find("dataset", name)
    except ComponentError:
        return False
    return True
