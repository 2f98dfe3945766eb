"""A frozen pydantic model whose errors are this library's, and hold nothing of what they refuse."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from genai_config._masking import MASK, forgets_arguments
from genai_config._settings import validation
from genai_config._settings.given import UNSET
from genai_config.exceptions import ConfigurationError

_custom_error: Any = PydanticCustomError  # its types allow literal strings alone


def _without_input(error: ValidationError) -> ValidationError:
    """The same error, with asterisks in place of what was given."""
    lines = []
    # hide_input_in_errors is about str() alone: errors() and json() would show it.
    for line in error.errors(include_url=False):
        ours = line.get("ctx", {}).get("error")
        lines.append(
            InitErrorDetails(
                type=_custom_error(
                    line["type"], str(ours or line["msg"]), {"error": ours} if ours else None
                ),
                loc=line["loc"],
                input=MASK,
            )
        )
    return ValidationError.from_exception_data(error.title, lines, hide_input=True)


def _in_our_words(error: ValidationError) -> ConfigurationError:
    """The error of this library for what pydantic has refused."""
    found = []
    for line in error.errors(include_url=False):
        ours = line.get("ctx", {}).get("error")
        if not isinstance(ours, ConfigurationError):
            place = ".".join(str(part) for part in line["loc"]) or "The configuration"
            ours = ConfigurationError(f"{place}: {line['msg']}.", "give a value of that type.")
        found.append(ours)
    if len(found) == 1:
        return found[0]
    return ConfigurationError(
        " ".join(one.problem for one in found),
        "; ".join(dict.fromkeys(one.remedy for one in found)),
    )


def _refusing(validate: Any) -> Any:
    """One of pydantic's ways to make a model, whose errors are those of this library."""

    @forgets_arguments
    @functools.wraps(validate)
    def checked(*args: Any, **kwargs: Any) -> Any:
        try:
            return validate(*args, **kwargs)
        except ValidationError as error:
            refused = _in_our_words(error)
        raise refused  # here: it has no context, which would hold what was given

    return checked


class FrozenModel(
    BaseModel,
    frozen=True,
    extra="forbid",
    arbitrary_types_allowed=True,
    hide_input_in_errors=True,
    # Most programs never validate a model: `build` makes one of values that are checked already.
    defer_build=True,
):
    """A frozen model whose errors hold nothing of what they refuse."""

    _NAMES: ClassVar[str]
    """What a message calls one of its fields."""

    def __hash__(self) -> int:
        # pydantic's own goes by the order in which old versions keep the values.
        return hash((type(self), *(getattr(self, name) for name in type(self).model_fields)))

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, value: Any, validate: Any) -> Any:
        if isinstance(value, Mapping):
            value = {n: given for n, given in value.items() if given not in (None, UNSET)}
        try:
            unknown = [n for n in value if n not in cls.model_fields] if type(value) is dict else []
            if not unknown:
                return validate(value)
            names = list(cls.model_fields)
            errors = {str(n): validation.unknown(cls._NAMES, str(n), names) for n in unknown}
            refused = ValidationError.from_exception_data(
                cls.__name__,
                [
                    InitErrorDetails(
                        type=_custom_error("unknown", str(error), {"error": error}),
                        loc=(name,),
                        input=MASK,
                    )
                    for name, error in errors.items()
                ],
                hide_input=True,
            )
        except ValidationError as error:
            refused = _without_input(error)
        raise refused

    if not TYPE_CHECKING:  # pragma: no branch
        __init__ = _refusing(BaseModel.__init__)
        # Pydantic calls an __init__ of one's own for a model inside another one, too: the other
        # one's error is to have a line for each setting.
        __init__.__pydantic_base_init__ = True
        model_validate = classmethod(_refusing(BaseModel.model_validate.__func__))
        model_validate_json = classmethod(_refusing(BaseModel.model_validate_json.__func__))

    def __setattr__(self, name: str, value: Any) -> None:
        # pydantic's own error would show the value.
        raise ConfigurationError(
            f"A configuration is frozen, {name} too.", f"config.merge({name}=…) makes a new one."
        )

    def __delattr__(self, name: str) -> None:
        # pydantic 2.0 would do it.
        raise ConfigurationError(
            f"A configuration is frozen, {name} too.",
            f"config.merge({name}=UNSET) makes a new one.",
        )
