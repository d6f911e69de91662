"""The tree of commands."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cnnkit.cli import (
    attribute,
    compare,
    datasets,
    doctor,
    evaluate,
    explain,
    export,
    gradcheck,
    models,
    plot,
    plugins,
    predict,
    reproduce,
    summary,
    sweep,
    train,
    validate,
)
from cnnkit.cli.stdout import keep_apart

PLAIN = {"a valid integer": "a whole number", "a valid number": "a number", "a valid boolean": "true or false"}
"""What pydantic calls what an argument may be, and what everybody does."""


def _readable(error: typer.BadParameter) -> str:
    """What is wrong with an argument, in the words of other messages, and the argument itself."""
    expected = re.fullmatch(r"Input should be ([^,]*)(?:, unable to .*)?", error.message, re.DOTALL)
    told = getattr(error.__cause__, "errors", None)
    if not expected or told is None:
        return error.message
    return f"expected {PLAIN.get(expected[1], expected[1])}, got {told()[0]['input']!r}"


class Commands(TyperGroup):
    """Tells what fails inside a command from what typer takes as a sign that the user has gone away."""

    def invoke(self, context: typer.Context) -> Any:  # type: ignore[override]  # the base of Context is private to typer
        """Run a command. Raises RuntimeError where typer would end the process with 0 or 1 and say nothing."""
        try:
            return super().invoke(context)
        except typer.BadParameter as error:
            error.message = _readable(error)
            raise
        except (BrokenPipeError, EOFError, SystemExit) as error:  # of a worker, a file, a plugin
            raise RuntimeError(f"{type(error).__name__}: {error}") from error


# Plain help and usage errors: rich's boxes would cut paths at 80 columns where there is no terminal.
app = typer.Typer(
    cls=Commands,
    add_completion=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    train.train,
    compare.compare,
    sweep.sweep,
    evaluate.evaluate,
    predict.predict,
    explain.explain,
    attribute.attribute,
    plot.plot,
    export.export,
    validate.validate,
    summary.summary,
    gradcheck.gradcheck,
    reproduce.reproduce,
    doctor.doctor,
):
    app.command()(command)
app.add_typer(models.app, name="models")
app.add_typer(plugins.app, name="plugins")
app.add_typer(datasets.app, name="datasets")
keep_apart(app)


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version of cnnkit.")] = False,
) -> None:
    """Train convolutional networks with NumPy, keep every model, export to ONNX with proof."""
    if version:
        import importlib.metadata

        typer.echo(f"cnnkit {importlib.metadata.version('cnnkit')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
