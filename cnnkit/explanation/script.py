"""The page's one script: moving over an output shows what it looks at, and a link to a layer unfolds it.

All that is to be read is there without it.
"""

from __future__ import annotations

import base64
import hashlib
import json

from cnnkit.layers.window import Window

SCRIPT = """
"use strict";
for (const section of document.querySelectorAll("[data-window]")) {
  const axes = JSON.parse(section.dataset.window);
  const inputs = [...section.querySelectorAll(".steps .marked .box")];
  const pictures = [...section.querySelectorAll(".output .marked")];
  const outputs = [...section.querySelectorAll(".output .marked .box")];
  const before = [...inputs, ...outputs].map((box) => [box, box.style.cssText]);
  const place = (box, axis, start, size, length) => {
    box.style[axis ? "left" : "top"] = `${100 * start / length}%`;
    box.style[axis ? "width" : "height"] = `${100 * size / length}%`;
  };
  for (const picture of pictures) {
    picture.addEventListener("pointermove", (event) => {
      const area = picture.getBoundingClientRect();
      const at = [(event.clientY - area.top) / area.height, (event.clientX - area.left) / area.width];
      axes.forEach(([positions, length, stride, padding, reach], axis) => {
        const index = Math.max(0, Math.min(positions - 1, Math.floor(at[axis] * positions)));
        inputs.forEach((box) => place(box, axis, index * stride - padding, reach, length));
        outputs.forEach((box) => place(box, axis, index, 1, positions));
      });
    });
    picture.addEventListener("pointerleave", () => before.forEach(([box, style]) => { box.style.cssText = style; }));
  }
  section.querySelectorAll("[hidden]").forEach((hint) => { hint.hidden = false; });
}
const unfold = () => {
  document.querySelectorAll("section:target details").forEach((details) => { details.open = true; });
};
addEventListener("hashchange", unfold);
unfold();
"""
HINT = (
    "Move over the pictures of the output: the frames below show where that number comes from, while the grids and "
    "sums stay those of the number in detail."
)


def allowed() -> str:
    """What the page's policy says, so that no other script runs."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode('ascii')}'"


def geometry(window: Window) -> str:
    """Of rows and columns: positions, length, stride, padding before, reach."""
    axes = [
        (axis.positions, axis.length, axis.stride, axis.before, axis.reach) for axis in (window.rows, window.columns)
    ]
    return json.dumps(axes)
