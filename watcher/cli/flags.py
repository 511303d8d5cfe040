"""Commands whose help shows flags as what they are: names that take no value, not "<bool>"."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


def _without_types(parameters: list[Any]) -> list[Any]:
    for each in parameters:
        if getattr(each, "is_flag", False) and each.metavar is None:
            each.metavar = ""
    return parameters


class Command(TyperCommand):
    """A command of ours."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its parameters, for the parser and the help."""
        return _without_types(super().get_params(ctx))


class Group(TyperGroup):
    """A group of commands of ours."""

    def get_params(self, ctx: Any) -> list[Any]:
        """See `Command.get_params`."""
        return _without_types(super().get_params(ctx))
