"""Pictures of samples: each class with its name and a few images, whatever is drawn."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.augmentations import Shift
from cnnkit.data import load_dataset
from cnnkit.errors import DataError, PlotError
from cnnkit.network import Augmented
from cnnkit.plotting.samples import EPOCHS, MOST_CLASSES, MOST_LETTERS, draw_samples, write_samples
from cnnkit.types import Array, Data, Samples

pytest.importorskip("matplotlib")
MAGIC = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


def texts(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def some(classes: int, each: int, shape: tuple[int, ...]) -> tuple[Any, Any]:
    y = np.repeat(np.arange(classes), each)
    return np.random.default_rng(0).integers(0, 256, (len(y), *shape), dtype=np.uint8), y


@pytest.mark.parametrize(("classes", "each"), [(1, 4), (3, 8), (7, 16), (40, 6)])
def test_few_classes_have_few_and_large_images(
    classes: int, each: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Any] = []
    monkeypatch.setattr("cnnkit.plotting.samples.save", lambda figure, path: figures.append(figure))
    samples = Samples(*some(classes, 20, (1, 4, 4)))
    write_samples(Data(samples, samples), tmp_path / "a.png")
    assert len(figures[0].axes[0].images) == classes * each


def test_each_class_has_its_name_and_its_images() -> None:
    x, y = some(3, 4, (1, 5, 5))
    figure = draw_samples(x, y, ("cat", "dog", "bird"), "Mine()")
    assert texts(figure) == ["cat", "dog", "bird"]
    assert figure.texts[0].get_text() == "Mine()"
    drawn = figure.axes[0].images
    assert len(drawn) == 12
    shown, scaled = drawn[5].get_array(), (x[5, 0].astype(float) - x.min()) / (int(x.max()) - int(x.min()))
    assert shown is not None
    assert np.allclose(shown, scaled)
    left, right, bottom, top = drawn[5].get_extent()
    name = figure.axes[0].texts[1]
    assert top < name.get_position()[1] < bottom  # beside its name; y grows downwards
    assert name.get_position()[0] < left < right


def test_colour_images_keep_their_channels_and_their_proportions() -> None:
    x, y = some(2, 1, (3, 4, 8))
    drawn = draw_samples(x, y, (), "t").axes[0].images
    shown = drawn[0].get_array()
    assert shown is not None
    assert shown.shape == (4, 8, 3)
    left, right, bottom, top = drawn[0].get_extent()
    assert abs((right - left) / (bottom - top)) == pytest.approx(2)


@pytest.mark.parametrize("classes", [1, 10, 47, 100, 120])
def test_any_number_of_classes_fits_on_the_page(classes: int) -> None:
    x, y = some(classes, 2, (1, 4, 4))
    figure = draw_samples(x, y, [f"class {i} with a long name" for i in range(classes)], "t")
    figure.canvas.draw()
    page = figure.bbox
    for artist in (*figure.axes[0].texts, *figure.axes[0].images):
        box = artist.get_window_extent()
        assert page.x0 - 1 <= box.x0 < box.x1 <= page.x1 + 1
        assert page.y0 - 1 <= box.y0 < box.y1 <= page.y1 + 1


def test_names_overlap_no_images() -> None:
    x, y = some(40, 2, (1, 4, 4))
    figure = draw_samples(x, y, ["W" * MOST_LETTERS if i % 2 else "mushroom" for i in range(40)], "t")
    figure.canvas.draw()
    names = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text() == "mushroom"]
    assert names
    for image in figure.axes[0].images:
        box = image.get_window_extent()
        assert not any(box.overlaps(name) for name in names)


@pytest.mark.parametrize("suffix", MAGIC)
def test_the_suffix_decides_the_format(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    path = write_samples(load_dataset("Digits()", tmp_path), folder / f"samples{suffix}")
    assert path.read_bytes().startswith(MAGIC[suffix])
    assert list(folder.iterdir()) == [path]


def test_names_may_be_anything(tmp_path: Path) -> None:
    x, y = some(4, 1, (1, 4, 4))
    samples = Samples(x, y)
    names = ("$\\frac{$", "\u3042\x1b[31m", "a" * 50, "")
    write_samples(Data(samples, samples, labels=names, name="$x$"), tmp_path / "a.png")
    assert texts(draw_samples(x, y, names, "t"))[2] == "a" * (MOST_LETTERS - 1) + "\u2026"


def test_many_classes_and_targets_to_regress(tmp_path: Path) -> None:
    x, y = some(MOST_CLASSES + 5, 1, (1, 2, 2))
    samples = Samples(x, y)
    write_samples(Data(samples, samples), tmp_path / "many.png")
    values = Samples(x, y.astype(np.float32)[:, None])
    write_samples(Data(values, values), tmp_path / "values.png")


def test_signals_are_lines_on_one_scale_beside_the_name_of_their_class() -> None:
    x = np.array([[[0.0, 1, 2], [4, 4, 4]], [[2, 1, 0], [0, 0, 0]], [[3, 3, 3], [1, 1, 1]]], np.float32)
    figure = draw_samples(x, np.array([0, 1, 1]), ("up", "down"), "t")
    assert texts(figure) == ["up", "down"]
    axes = figure.axes[0]
    assert not axes.images
    assert len(axes.lines) == 3 * (1 + x.shape[1])
    frames, drawn = axes.lines[::3], [axes.lines[at] for at in range(len(axes.lines)) if at % 3]
    heights = [np.asarray(line.get_ydata()) for line in drawn]
    for at, height in enumerate(heights):
        bottom, top = np.max(frames[at // 2].get_ydata()), np.min(frames[at // 2].get_ydata())  # y grows downwards
        share = (bottom - height) / (bottom - top)
        np.testing.assert_allclose(share, 0.05 + 0.9 * x.reshape(6, 3)[at] / 4)
    assert drawn[0].get_color() == drawn[2].get_color() != drawn[1].get_color()


@pytest.mark.parametrize("shape", [(4, 9), (4, 2, 3, 3), (0, 1, 3, 3), (0, 1, 3)])
def test_what_is_no_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"\(N, 3, H, W\), or signals of shape \(N, C, L\), to draw, got \("):
        draw_samples(np.zeros(shape), np.zeros(len(np.zeros(shape)), np.int64), (), "t")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.gif", "expected a name that ends in .png, .svg, .pdf"),
        ("no/a.png", "expected the name of a file in a folder that exists"),
        ("folder.png", "expected the name of a file in a folder that exists"),
    ],
)
def test_a_path_that_cannot_be(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(PlotError) as caught:
        write_samples(load_dataset("Digits()", tmp_path), tmp_path / name)
    assert str(caught.value) == f"cannot write {tmp_path / name}: {message}"


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(PlotError) as caught:
        write_samples(load_dataset("Digits()", tmp_path), tmp_path / "a.png")
    assert str(caught.value) == 'pictures need matplotlib: pip install "cnnkit[plots]"'


def test_one_sample_of_each_class_is_shown_in_several_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_dataset("Digits()", tmp_path)
    drawn: list[tuple[Array, Array, str]] = []

    def remember(images: Array, labels: Array, names: Sequence[str], title: str) -> Any:
        drawn.append((images, labels, title))
        return draw_samples(images, labels, names, title)

    monkeypatch.setattr("cnnkit.plotting.samples.draw_samples", remember)
    write_samples(data, tmp_path / "a.png", [Shift(2)])
    ((images, labels, title),) = drawn
    assert title.endswith(f": as it is, and in {EPOCHS} epochs with Shift(2)")
    assert np.array_equal(labels, np.tile(np.arange(10), 1 + EPOCHS))
    first = [int(np.argmax(data.train.y == label)) for label in range(10)]
    samples = Augmented(data.train.x, data.train.y, [Shift(2)], 10)
    assert np.array_equal(images[:10], data.train.x[np.array(first)])
    for epoch in range(EPOCHS):
        assert np.array_equal(images[10 * epoch + 10 : 10 * epoch + 20], samples.at(np.array(first), 0, epoch).x)


def test_images_with_classes_of_pixels_are_shown_in_one_group(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((30, 1, 6, 6)).astype(np.float32)
    y = np.arange(30 * 36).reshape(30, 6, 6) % 3
    for targets in (y, np.moveaxis(np.eye(3, dtype=np.float32)[y], -1, 1)):
        data = Data(Samples(x, targets), Samples(x, targets), name="masks")
        assert write_samples(data, tmp_path / "masks.svg").exists()


def test_samples_without_one_class_have_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []

    def noted(*given: Any) -> Any:
        drawn.extend(given)
        return draw_samples(*given)

    monkeypatch.setattr("cnnkit.plotting.samples.draw_samples", noted)
    data = load_dataset("MeanInk(Digits())")
    write_samples(data, tmp_path / "ink.png")
    images, groups, names, _ = drawn
    np.testing.assert_array_equal(images, data.train.x[:32])
    assert groups.tolist() == [number // 8 for number in range(32)]
    assert names == ("",) * 4
