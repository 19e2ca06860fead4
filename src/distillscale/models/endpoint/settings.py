"""Which endpoint is asked, how hard, and what it may cost."""

import os
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from distillscale.errors import InputError

_PATH = "/chat/completions"


@dataclass(frozen=True)
class Budget:
    """What all requests together may cost, at most; None is no limit.

    Attributes:
        tokens: prompt and completion tokens together.
        money: in the currency of the prices.
        prompt_price: of a million prompt tokens.
        completion_price: of a million completion tokens, reasoning included.
    """

    tokens: int | None = None
    money: float | None = None
    prompt_price: float = 0.0
    completion_price: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: a limit or a price is out of range, or money is limited without a price.
        """
        if self.tokens is not None and self.tokens < 1:
            raise InputError(f"token budget is {self.tokens}; it must be at least 1.")
        if self.money is not None and not 0 < self.money < float("inf"):
            raise InputError(f"money budget is {self.money}; it must be above 0.")
        if not (
            0 <= self.prompt_price < float("inf") and 0 <= self.completion_price < float("inf")
        ):
            raise InputError(
                f"prices are {self.prompt_price} and {self.completion_price} a million tokens; "
                "both must be at least 0."
            )
        if self.money is not None and self.prompt_price == self.completion_price == 0:
            raise InputError(
                f"money budget is {self.money}, but no price is given; name the price of a million "
                "prompt or completion tokens."
            )

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What tokens cost, in the currency of the prices."""
        million = 1_000_000
        return (
            self.prompt_price * prompt_tokens + self.completion_price * completion_tokens
        ) / million


@dataclass(frozen=True)
class EndpointSettings:
    """An OpenAI-compatible chat endpoint.

    The API key is no setting: it is read from the environment variable `api_key_variable` when
    requests are sent, and kept out of everything that is written, logged or raised.

    Attributes:
        url: up to `/v1`, for example `http://localhost:8000/v1`; where it has no path, `/v1` is
            meant.
        model: the name by which the server knows the model.
        api_key_variable: None sends no key.
        concurrency: requests under way at once.
        timeout_seconds: the longest silence of the server before a request counts as lost: until
            the whole answer is there, or with `stream` between two pieces of it.
        attempts: how often a request is sent before it is given up.
        first_wait_seconds: the wait before the second attempt; it doubles with each further one, up
            to a minute. The defaults bridge a minute and a half without an answer.
        stream: let the server send each answer piece by piece (for long reasoning behind a gateway
            that closes silent connections).
    """

    url: str
    model: str
    api_key_variable: str | None = None
    concurrency: int = 8
    timeout_seconds: float = 120.0
    attempts: int = 8
    first_wait_seconds: float = 1.0
    stream: bool = False

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: a field is out of range; the sentence names it, but never what a URL holds
                besides host and path.
        """
        _check_url(self.url)
        if not self.model.strip():
            raise InputError("the endpoint's model is empty; name one that the server knows.")
        for field in ("concurrency", "attempts"):
            if getattr(self, field) < 1:
                raise InputError(f"{field} is {getattr(self, field)}; it must be at least 1.")
        for field in ("timeout_seconds", "first_wait_seconds"):
            if not 0 < getattr(self, field) < float("inf"):
                raise InputError(f"{field} is {getattr(self, field)}; it must be above 0.")

    @property
    def address(self) -> str:
        """The URL that requests are sent to."""
        parts = urlsplit(self.url)
        path = parts.path.rstrip("/").removesuffix(_PATH) or "/v1"
        return urlunsplit((parts.scheme, parts.netloc, path + _PATH, "", ""))

    def api_key(self) -> str | None:
        """The key, read anew from the environment.

        Raises:
            InputError: the variable is not set, is empty, or holds what no header can carry.
        """
        if self.api_key_variable is None:
            return None
        key = os.environ.get(self.api_key_variable, "").strip()
        if not key:
            raise InputError(
                f"environment variable {self.api_key_variable} is not set; it must hold the API "
                "key of the endpoint."
            )
        if not key.isascii() or not key.isprintable():
            raise InputError(
                f"environment variable {self.api_key_variable} holds characters that no HTTP "
                "header can carry; it must be the API key alone."
            )
        return key


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        raise InputError("the endpoint's URL cannot be read; it is like https://HOST/v1.") from None
    if parts.username or parts.password or parts.query or parts.fragment:
        # Not quoted: what stands there may be a secret.
        raise InputError(
            "the endpoint's URL has a user, password or query; a key belongs into an environment "
            "variable that the settings name."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_fits:
        raise InputError(f"the endpoint's URL is `{url}`; it must be like https://HOST/v1.")
