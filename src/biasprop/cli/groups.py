"""Groups of options that several commands share, declared once: a frozen dataclass whose fields are typer's options."""

import inspect
from collections.abc import Callable
from copy import copy
from dataclasses import is_dataclass
from functools import wraps
from typing import Annotated, Any, TypeVar, get_args

__all__ = ["with_groups"]

T = TypeVar("T")


def with_groups(command: Callable[..., T]) -> Callable[..., T]:
    """The command as typer is to see it: each parameter that is a group is spelled out as the group's fields.

    When it is called with all of these, the command gets an instance of each group.

    Raises:
        TypeError: an option is spelled twice.
    """
    groups: dict[str, tuple[Callable[..., Any], list[str]]] = {}
    spelled: list[inspect.Parameter] = []
    for parameter in _parameters(command):
        if is_dataclass(parameter.annotation) and isinstance(parameter.annotation, type):
            title = (parameter.annotation.__doc__ or "").split(".")[0]
            fields = [_in_panel(field, title) for field in _parameters(parameter.annotation)]
            groups[parameter.name] = parameter.annotation, [field.name for field in fields]
            spelled += fields
        else:
            spelled.append(parameter)
    names = [parameter.name for parameter in spelled]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise TypeError(f"{command.__name__} spells {', '.join(sorted(twice))} twice.")

    @wraps(command)
    def grouped(**given: Any) -> T:
        made = {name: group(**{f: given.pop(f) for f in fields}) for name, (group, fields) in groups.items()}
        return command(**given, **made)

    grouped.__signature__ = inspect.Signature(spelled)  # type: ignore[attr-defined]
    grouped.__annotations__ = {parameter.name: parameter.annotation for parameter in spelled}
    return grouped


def _in_panel(parameter: inspect.Parameter, title: str) -> inspect.Parameter:
    """An option of a group, shown under the group's first sentence."""
    kind, option, *others = get_args(parameter.annotation)
    option = copy(option)
    option.rich_help_panel = title
    return parameter.replace(annotation=Annotated[kind, option, *others])


def _parameters(of: Callable[..., Any]) -> list[inspect.Parameter]:
    """Keyword-only, so that one without a default may follow one that has it."""
    parameters = inspect.signature(of, eval_str=True).parameters.values()
    return [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
