"""How a network sees one image: every layer's numbers, forward and backward, as a page for people who learn."""

from cnnkit.explanation.explanation import Explanation, explain
from cnnkit.explanation.page import page, write_page

__all__ = ["Explanation", "explain", "page", "write_page"]
