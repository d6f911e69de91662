"""What is taught about one layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cnnkit.explanation.figures import Box
from cnnkit.explanation.markup import Html
from cnnkit.layers.window import Window


@dataclass(frozen=True)
class Lesson:
    """What there is to say beside what the class says: of this image, and one number of the output taken apart."""

    words: Sequence[str]
    example: Html | None = None
    back: str = ""
    """What the backward pass does, as text."""
    boxes: Mapping[int, Box] = field(default_factory=dict)
    """By channel of the output: where the number of the example is."""
    window: Window | None = None
    """What every number of the output looks through."""
