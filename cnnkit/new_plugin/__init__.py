"""The beginning of a plugin: a whole distribution, made from files of the folder `templates`."""

from cnnkit.new_plugin.creation import KINDS, create
from cnnkit.new_plugin.taking_over import Taken, take

__all__ = ["KINDS", "Taken", "create", "take"]
