"""The errors that a user can fix; each message says what was expected, what was received, where, and what to do."""


class CnnkitError(Exception):
    """Anything that the user can fix; the command line prints the message and exits with `exit_code`."""

    exit_code = 2


class ConfigError(CnnkitError):
    """An argument or option has an invalid value."""


class CostError(ConfigError):
    """The request takes more memory or time than is available."""


class ShapeError(CnnkitError):
    """Arrays or layers do not fit together."""


class ContractError(ShapeError):
    """A layer returns something that breaks its contract."""


class ExpressionError(CnnkitError):
    """A component's call notation, such as `Conv2D(8, 3)`, cannot be read."""


class ComponentError(CnnkitError):
    """No component has this name, several have it, its plugin is broken, or it breaks its contract."""


class RecipeError(CnnkitError):
    """A recipe has a wrong key or value."""


class DataError(CnnkitError):
    """A data file is missing, damaged, or does not hold what was expected."""


class RegistryError(CnnkitError):
    """A registry, a reference or a model file cannot be used."""


class OnnxError(CnnkitError):
    """A model cannot be expressed in ONNX, or an ONNX file cannot be read."""


class PlotError(CnnkitError):
    """A picture cannot be drawn or written."""


class TrainingError(CnnkitError):
    """A training cannot continue."""


class CnnkitWarning(UserWarning):
    """What the user should know while the work continues; the command line prints each text once, as a line."""


class PluginVersionWarning(CnnkitWarning):
    """A plugin of a model's layers is installed in a different version than the model was saved with."""


class UnitsWarning(CnnkitWarning):
    """Inputs seem to be in different units than those that a model was trained on."""


class CheckError(CnnkitError):
    """Everything ran, and the answer is no: a validation, verification or gradient check failed."""

    exit_code = 1


def notes_of(error: BaseException) -> list[str]:
    """The notes of an error that say where it was, such as "in the metric Accuracy()"; without tracebacks."""
    return [note for note in getattr(error, "__notes__", ()) if "\n" not in note]
