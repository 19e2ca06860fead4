import pytest

from distillscale.errors import InputError
from distillscale.models.endpoint import Budget, EndpointSettings


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1/chat/completions"),
        ("http://localhost:8000/v1/", "http://localhost:8000/v1/chat/completions"),
        ("https://host/api/v2", "https://host/api/v2/chat/completions"),
        ("https://host/v1/chat/completions", "https://host/v1/chat/completions"),
    ],
)
def test_url_may_end_anywhere_before_the_route(url: str, address: str) -> None:
    assert EndpointSettings(url, "m").address == address


@pytest.mark.parametrize(
    "url",
    ["https://user:s3cret@host/v1", "https://host/v1?api_key=s3cret", "https://host/v1#s3cret"],
)
def test_secrets_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InputError, match="environment variable") as caught:
        EndpointSettings(url, "m")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["host/v1", "ftp://host/v1", "http://", "http://host:port/v1", ""])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="https://HOST/v1"):
        EndpointSettings(url, "m")


@pytest.mark.parametrize(
    "fields",
    [
        {"model": " "},
        {"concurrency": 0},
        {"attempts": 0},
        {"timeout_seconds": 0.0},
        {"first_wait_seconds": float("nan")},
    ],
)
def test_fields_out_of_range_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(InputError):
        EndpointSettings(**{"url": "http://host", "model": "m", **fields})  # type: ignore[arg-type]


def test_key_is_read_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = EndpointSettings("http://host", "m", api_key_variable="LAB_KEY")
    monkeypatch.delenv("LAB_KEY", raising=False)
    with pytest.raises(InputError, match="LAB_KEY is not set"):
        settings.api_key()
    monkeypatch.setenv("LAB_KEY", " secret\n")
    assert settings.api_key() == "secret"
    monkeypatch.setenv("LAB_KEY", "one\ntwo")
    with pytest.raises(InputError, match="characters") as caught:
        settings.api_key()
    assert "two" not in str(caught.value)


def test_money_needs_a_price() -> None:
    with pytest.raises(InputError, match="no price"):
        Budget(money=1.0)
    with pytest.raises(InputError, match="at least 1"):
        Budget(tokens=0)
    with pytest.raises(InputError, match="above 0"):
        Budget(money=0.0, prompt_price=1.0)
    with pytest.raises(InputError, match="prices"):
        Budget(prompt_price=-1.0)
    assert Budget(prompt_price=2.0, completion_price=8.0).cost(500_000, 250_000) == 3.0
