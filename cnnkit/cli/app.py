"""The tree of commands."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
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
    selftest,
    summary,
    sweep,
    train,
    validate,
)
from cnnkit.cli.stdout import keep_apart

UsageError: Any = typer.BadParameter.__base__
"""A call that cannot be understood; typer has no public name for it."""
PLAIN = {"a valid integer": "a whole number", "a valid number": "a number", "a valid boolean": "true or false"}
"""What pydantic calls what an argument may be, and what everybody does."""
_CHOICES = re.compile(r"(?:Value error, )?('.*'|\".*\") is not one of (.*?)\.?", re.DOTALL)


def _readable(error: typer.BadParameter) -> str:
    """What is wrong with an argument, in the words of other messages, and the argument itself."""
    if choices := _CHOICES.fullmatch(error.message):
        return f"expected one of {choices[2]}, got {choices[1]}"
    expected = re.fullmatch(r"Input should be ([^,]*)(?:, unable to .*)?", error.message, re.DOTALL)
    told = getattr(error.__cause__, "errors", None)
    if not expected or told is None:
        return error.message
    what = re.sub("greater than or equal to (.*)", r"a number, \1 or more", PLAIN.get(expected[1], expected[1]))
    return f"expected {what}, got {told()[0]['input']!r}"


@contextlib.contextmanager
def _told_as_others() -> Iterator[None]:
    """Prints how a command is called and, as any other error, what is wrong with a call; ends the process with 2."""
    try:
        yield
    except UsageError as error:
        from cnnkit.cli.output import fail

        if isinstance(error, typer.BadParameter):
            error.message = _readable(error)
        if error.ctx:
            typer.echo(f"{error.ctx.get_usage()}\nTry '{error.ctx.command_path} --help' for help.\n", err=True)
        message = error.format_message().removesuffix(".").replace(". Did you mean", "; did you mean")
        fail(f"{message[:1].lower()}{message[1:]}")
        raise typer.Exit(error.exit_code) from error


class Commands(TyperGroup):
    """Tells wrong calls as other errors, and what fails inside a command from a sign that the user has gone away."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Read the options before a command."""
        with _told_as_others():
            return super().make_context(*arguments, **options)

    def invoke(self, context: typer.Context) -> Any:  # type: ignore[override]  # the base of Context is private to typer
        """Run a command. Raises RuntimeError where typer would end the process with 0 or 1 and say nothing."""
        try:
            with _told_as_others():
                return super().invoke(context)
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
    selftest.selftest,
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
