"""Attribution: which parts of an input speak for what a network says of it."""

from cnnkit.attribution.attribution import METHODS, Attribution, attribute, attribution

__all__ = ["METHODS", "Attribution", "attribute", "attribution"]
