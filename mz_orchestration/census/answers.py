"""Answers of Census: taken apart, or turned into errors that a person can act on."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from mz_orchestration.census.config import V1_ENDS, CensusConfig
from mz_orchestration.errors import (
    ConfigurationError,
    CredentialsError,
    MzOrchestrationError,
    NotFoundError,
    UnavailableError,
)
from mz_orchestration.validation import describe_validation

Model = TypeVar("Model", bound=BaseModel)

_SHOWN = 300
# Worth asking again for what changes nothing, like all of 500 and above: gateways have codes of their own there, such
# as 520 to 529, and say by them that they do not know what became of the request. 408: it did not arrive whole.
_PASSING = {408, 425, 429}


class UnexpectedAnswerError(UnavailableError):
    """Something answered, but not as Census' API does."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that arrived whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether Census did what it was asked for."""
        return 200 <= self.status < 300

    def data(self, config: CensusConfig) -> Any:
        """What the body says as JSON, without the token; None if it is no JSON."""
        try:
            return _hidden(json.loads(self.body), _forms(config))
        except (ValueError, RecursionError):  # the second: nested deeper than anybody can follow
            return None

    def text(self, config: CensusConfig) -> str:
        """The body as a short line for people, without what steers terminals and without the token."""
        data = self.data(config)
        said = None
        if isinstance(data, dict):
            said = next((str(data[key]) for key in ("message", "error", "errors") if data.get(key)), None)
        text = hide(self.body.decode(errors="replace"), config) if said is None else said
        return shown(" ".join(text[: 4 * _SHOWN].split()))


def hide(text: str, config: CensusConfig) -> str:
    """A text of a server's without the token, which some send back; before anything is cut off it."""
    return str(_hidden(text, _forms(config)))


def _forms(config: CensusConfig) -> list[str]:
    """How the token may be written; longest first, since one may hold another."""
    token = config.token.get_secret_value()
    return sorted({token, quote(token, safe=""), html.escape(token), json.dumps(token)[1:-1]}, key=len, reverse=True)


def _hidden(data: Any, forms: list[str]) -> Any:
    if isinstance(data, str):
        for form in forms:
            data = data.replace(form, "***")
        return data
    if isinstance(data, list):
        return [_hidden(item, forms) for item in data]
    if isinstance(data, dict):
        return {_hidden(name, forms): _hidden(value, forms) for name, value in data.items()}
    return data


def shown(text: str) -> str:
    """A text of Census' for messages: without control characters, and short."""
    clean = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
    return clean if len(clean) <= _SHOWN else f"{clean[:_SHOWN]}…"


def read(answer: Answer, config: CensusConfig) -> dict[str, Any]:
    """The JSON object of an answer.

    Raises:
        UnexpectedAnswerError: It is none.
    """
    data = answer.data(config)
    if not isinstance(data, dict):
        raise UnexpectedAnswerError(
            f"{config.host} answered with status {answer.status}, but not with a JSON object: "
            f"{answer.text(config) or 'the answer is empty'}",
            hint="Is that Census, or a proxy before it? Check CENSUS_URL and CENSUS_REGION.",
        )
    return data


def read_data(answer: dict[str, Any], what: str) -> dict[str, Any]:
    """What stands under ``data``, where that is one object.

    Raises:
        UnexpectedAnswerError: It is not there.
    """
    data = answer.get("data")
    if not isinstance(data, dict):
        raise _without(what, "it has no object under 'data'")
    return data


def read_model(model: type[Model], data: Any, what: str) -> Model:
    """A model made from a part of an answer.

    Raises:
        UnexpectedAnswerError: A field that nothing can do without is missing or wrong.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _without(what, shown(describe_validation(error))) from None


def _without(what: str, finding: str) -> UnexpectedAnswerError:
    return UnexpectedAnswerError(
        f"Census' answer for {what} cannot be read: {finding.rstrip('.')}.",
        hint="If that stays so, its API has changed: look for a newer version of this package.",
    )


def refusal(answer: Answer, config: CensusConfig, what: str) -> MzOrchestrationError:
    """The error for an answer that is not a success.

    Args:
        answer: The answer.
        config: Who asked.
        what: What was asked for or about, such as ``sync 52``.
    """
    status, said = answer.status, answer.text(config)
    details = {"status": status}
    tail = f": {said.rstrip('.')}." if said else "."
    if status in (401, 403):
        kind = "a personal access token" if config.api == "v2" else "the workspace's API key"
        return CredentialsError(
            f"Census refuses the token for {what} (status {status}){tail}",
            hint=f"API {config.api.upper()} wants {kind}; the other kind does not work. Set CENSUS_API_TOKEN.",
            details=details,
        )
    if status == 410 and config.api == "v1":
        return ConfigurationError(
            f"Census' API V1 has ended (status 410); it was announced for {V1_ENDS:%-d %B %Y}.",
            hint="Set CENSUS_API_VERSION=v2, CENSUS_GROUP_ID, and CENSUS_API_TOKEN to a personal access token.",
            details=details,
        )
    if status in (404, 410):
        group = f", group {config.group_id}" if config.group_id else ""
        return NotFoundError(
            f"Census has no {what} that this token may see{tail}",
            hint=f"Asked {config.base_url}{group}: check the id, the group and the version of the API.",
            details=details,
        )
    if status in _PASSING or status >= 500:
        return UnavailableError(f"Census could not answer for {what} (status {status}){tail}", details=details)
    if 300 <= status < 400:
        place = shown(hide(answer.headers.get("location", "nowhere"), config))
        return ConfigurationError(
            f"{config.host} sends the request for {what} elsewhere, to {place} (status {status}).",
            hint="The token is not sent there. Set CENSUS_URL or CENSUS_REGION to the host that answers itself.",
            details=details,
        )
    return ConfigurationError(
        f"Census refuses the request for {what} (status {status}){tail}",
        hint="Correct what it names.",
        details=details,
    )
