"""Handwriting on paper, imitated from MNIST's test digits: how much of it a registered model recognises.

Each disturbance is tried alone, then all together; without `--invert` and `--fit`, with `--invert auto`, and with
`--fit`. MNIST's own files, light on dark, show what these cost where nothing is disturbed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.machine import description
from benchmarks.options import count, parser
from benchmarks.report import publish, table
from cnnkit import load_dataset, load_model, predict_files
from cnnkit.errors import DataError
from cnnkit.network import Network
from cnnkit.types import Array

SHEET = 256
"""Pixels of a side of the paper."""
FINE = 8
"""A digit is drawn with so many pixels for each of its own."""
FULL = 20 * FINE
"""Pixels of a drawn digit, as MNIST scales its digits to 20."""


@dataclass(frozen=True)
class Sheet:
    """How a digit lies on paper, and how that is photographed."""

    paper: float = 0.92
    """Lightness, of 1 for white."""
    ink: float = 0.15
    gradient: tuple[float, float] = (0, 0)
    """How much lighter the right and the lower edge is than the other, as a part of the light in the middle."""
    lamp: float = 0
    """How much lighter it is under a lamp, which stands at a place on the paper or beside it."""
    lamp_at: tuple[float, float] = (0, 0)
    centre: tuple[float, float] = (0.5, 0.5)
    """Of the digit, in parts of the sheet."""
    size: float = 0.7
    """Longer side of the digit, as a part of the sheet."""
    slant: float = 0
    turn: float = 0
    """Degrees."""
    thicker: int = 0
    """Of each stroke, in pixels of the drawn digit; one of MNIST's is 15 to 25 of them wide."""
    noise: float = 0


def _dim(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    paper = rng.uniform(0.3, 0.55)
    return replace(sheet, paper=paper, ink=paper * rng.uniform(0.2, 0.5), noise=0.02)


def _uneven(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    right, down, x, y = rng.uniform((-0.7, -0.7, -0.2, -0.2), (0.7, 0.7, 1.2, 1.2)).tolist()
    return replace(sheet, gradient=(right, down), lamp=rng.uniform(0, 0.5), lamp_at=(x, y))


def _place(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    """Anywhere on a sheet with room for it."""
    size = min(sheet.size, 0.5)
    x, y = rng.uniform(0.52 * size + 0.04, 0.96 - 0.52 * size, 2).tolist()
    return replace(sheet, centre=(x, y), size=size)


def _size(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    return replace(sheet, size=rng.uniform(0.2, 0.9))


def _slant(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    return replace(sheet, slant=rng.uniform(-15, 15), turn=rng.uniform(-12, 12))


def _stroke(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    return replace(sheet, thicker=int(2 * rng.integers(-4, 7)))


def _noise(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    return replace(sheet, noise=rng.uniform(0.02, 0.05))


DISTURBANCES: dict[str, Callable[[Sheet, np.random.Generator], Sheet]] = {
    "dim": _dim,
    "uneven light": _uneven,
    "size": _size,
    "position": _place,
    "slant": _slant,
    "stroke width": _stroke,
    "noise": _noise,
}


def sheet_of(names: Sequence[str], rng: np.random.Generator) -> Sheet:
    """Paper in good order, but for these disturbances, in their order."""
    sheet = Sheet()
    for name in names:
        sheet = DISTURBANCES[name](sheet, rng)
    return sheet


def photograph(digit: Array, sheet: Sheet, rng: np.random.Generator) -> Image.Image:
    """A digit of MNIST, (28, 28) uint8, as grey photograph of paper that it was written on."""
    side = digit.shape[0] * FINE
    smooth = np.asarray(Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC), np.float64) / 255
    ink = Image.fromarray((255 * np.clip(3 * smooth - 1, 0, 1)).astype(np.uint8))  # the edge of a pen, not of pixels
    if sheet.thicker:
        ink = ink.filter(
            (ImageFilter.MaxFilter if sheet.thicker > 0 else ImageFilter.MinFilter)(abs(sheet.thicker) + 1)
        )
    angle, slant = np.radians(sheet.turn), np.tan(np.radians(sheet.slant))
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.array([[1, slant], [0, 1]]) @ turned * (FULL / (sheet.size * SHEET))  # of the sheet to the drawn digit
    offset = side / 2 - matrix @ (SHEET * np.array(sheet.centre))
    where = (*matrix[0], offset[0], *matrix[1], offset[1])
    lying = ink.transform((SHEET, SHEET), Image.Transform.AFFINE, where, Image.Resampling.BICUBIC)
    covered = np.asarray(lying.filter(ImageFilter.GaussianBlur(0.7)), np.float64) / 255
    down, right = np.meshgrid(*[(np.arange(SHEET) + 0.5) / SHEET] * 2, indexing="ij")
    light = 1 + sheet.gradient[0] * (right - 0.5) + sheet.gradient[1] * (down - 0.5)
    far = ((right - sheet.lamp_at[0]) ** 2 + (down - sheet.lamp_at[1]) ** 2) / 0.3
    light += sheet.lamp * np.exp(-far)
    light /= max(light.max(), 1)
    level = light * (sheet.paper + (sheet.ink - sheet.paper) * covered)
    level += sheet.noise * rng.normal(size=level.shape)
    return Image.fromarray(np.rint(255 * np.clip(level, 0, 1)).astype(np.uint8))


def write_paper(digits: Array, names: Sequence[str], folder: Path, seed: int) -> None:
    """One photograph for each digit, (N, 28, 28), as PNG; the same for the same seed."""
    folder.mkdir()
    for number, digit in enumerate(digits):
        rng = np.random.default_rng([seed, number])
        photograph(digit, sheet_of(names, rng), rng).save(folder / f"{number:05}.png")


def write_files(digits: Array, folder: Path) -> None:
    """The digits themselves, light on dark."""
    folder.mkdir()
    for number, digit in enumerate(digits):
        Image.fromarray(digit).save(folder / f"{number:05}.png")


WAYS: dict[str, dict[str, Any]] = {
    "as it is": {"invert": False},
    "--invert auto": {},
    "--fit": {"fit": True},
}


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    options = parser(__doc__)
    options.add_argument("--model", default="mnist-best@latest", help="a version in the registry")
    options.add_argument("--registry", help="default: CNNKIT_REGISTRY, or ./registry")
    options.add_argument("--samples", type=count, default=500)
    options.add_argument("--skip", type=int, default=0, help="test digits before the first that is taken")
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args(argv)
    machine = description()
    model = load_model(args.model, registry=args.registry)
    test = load_dataset("MNIST()").test.take(slice(args.skip, args.skip + args.samples))
    digits, targets = np.asarray(test.x)[:, 0], [str(target) for target in test.y]
    every = tuple(DISTURBANCES)
    kinds = {"paper alone": (), **{name: (name,) for name in every}, "all of them": every}
    answers: dict[str, dict[str, list[str]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("MNIST's own files", *kinds):
            place = Path(folder, kind)
            if kind in kinds:
                write_paper(digits, kinds[kind], place, args.seed)
            else:
                write_files(digits, place)
            files = sorted(place.iterdir())
            answers[kind] = {way: [_answer(model, file, given) for file in files] for way, given in WAYS.items()}
    rows = [[kind, *(f"{_same(given, targets):.1%}" for given in ways.values())] for kind, ways in answers.items()]
    own = answers["MNIST's own files"]
    kept = [f"{way} {_same(own[way], own['as it is']):.1%}" for way in WAYS if way != "as it is"]
    markdown = (
        f"### Handwriting on paper, {len(targets)} digits, {args.model}: share that is right\n\n"
        + table(("images", *WAYS), rows)
        + f"\nAnswers for MNIST's own files that stay as they are: {', '.join(kept)}.\n"
    )
    publish(args, machine, markdown, answers)


def _answer(model: Network, file: Path, given: dict[str, Any]) -> str:
    """The class, or "blank" for a photograph that is refused because nothing stands out in it, which is wrong."""
    try:
        return predict_files(model, [file], **given)[0].labels[0]
    except DataError:
        return "blank"


def _same(answers: Sequence[str], others: Sequence[str]) -> float:
    return sum(map(str.__eq__, answers, others)) / len(answers)


if __name__ == "__main__":
    main()
