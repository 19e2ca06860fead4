"""The HTTP service: a deployed classifier behind four paths, with limits on what it takes."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, create_model
from starlette.exceptions import HTTPException

from distillscale import __version__
from distillscale.errors import InputError
from distillscale.serving.batching import Batcher, BatchSettings, QueueFull
from distillscale.serving.classifier import Classifier, Decision
from distillscale.serving.limits import BodyLimit
from distillscale.serving.metrics import CONTENT_TYPE, CountRequests, ServiceMetrics

_PATHS = frozenset({"/classify", "/health", "/metrics", "/docs", "/openapi.json"})
_RETRY_SECONDS = 1


@dataclass(frozen=True)
class ServiceSettings:
    """What a request may hold, and how requests are put into batches.

    Attributes:
        max_texts: of a request.
        max_characters: of a text.
        max_bytes: of a request's body.
        batching: see there.
    """

    max_texts: int = 64
    max_characters: int = 4000
    max_bytes: int = 2**20
    batching: BatchSettings = field(default_factory=BatchSettings)


class Answer(BaseModel):
    """The decision on one text."""

    label: str = Field(description="The most likely class.")
    probability: float = Field(description="Its probability among the classes.", ge=0, le=1)
    reasoning: str | None = Field(description="What the model wrote first, where it reasons.")


class Answers(BaseModel):
    """The decisions on a request's texts, in their order."""

    results: list[Answer]


class Refusal(BaseModel):
    """Why a request was not answered."""

    error: str


class Health(BaseModel):
    """What runs here."""

    status: str
    task: str
    classes: list[str]
    backend: str
    version: str


def create_app(classifier: Classifier, settings: ServiceSettings) -> FastAPI:
    """The service around a classifier, as an ASGI application."""
    task = classifier.deployment.task
    metrics = ServiceMetrics(task.labels)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        """The batcher lives as long as the service; what it holds at the end is computed."""
        batcher = Batcher(_work(classifier), settings.batching, metrics.batch)
        async with batcher:
            app.state.batcher = batcher
            metrics.watch_queue(lambda: batcher.waiting)
            yield

    app = FastAPI(
        title="distillscale",
        description=f"Sorts texts into the {len(task.labels)} classes of `{task.name}`.",
        version=__version__,
        lifespan=lifespan,
        redoc_url=None,
    )
    app.state.metrics = metrics
    app.add_middleware(BodyLimit, most_bytes=settings.max_bytes)
    app.add_middleware(CountRequests, metrics=metrics, paths=_PATHS)
    _add_refusals(app)
    refusals: dict[int | str, dict[str, Any]] = {
        code: {"model": Refusal, "description": text}
        for code, text in {
            400: "The body is no JSON.",
            413: f"The body has more than {settings.max_bytes:,} bytes.",
            422: "The texts are missing, empty, too many or too long.",
            500: "The model failed; the service's log says why.",
            503: "Too many texts wait: try again after the seconds of `Retry-After`; or it stops.",
        }.items()
    }
    body = _request_model(settings)

    @app.post("/classify", responses=refusals)
    async def classify(request: body) -> Answers:  # type: ignore[valid-type]
        """Sort texts into classes."""
        batcher: Batcher[str, Decision] = app.state.batcher
        decisions = await batcher.submit(request.texts)  # type: ignore[attr-defined]
        for decision in decisions:
            metrics.decided(decision.label)
        return Answers(
            results=[
                Answer(label=one.label, probability=one.probability, reasoning=one.reasoning)
                for one in decisions
            ]
        )

    @app.get("/health")
    async def health() -> Health:
        """Say what runs here; the model is loaded before the service listens."""
        return Health(
            status="ok",
            task=task.name,
            classes=list(task.labels),
            backend=classifier.backend,
            version=__version__,
        )

    @app.get("/metrics", response_class=PlainTextResponse)
    async def prometheus() -> PlainTextResponse:
        """Counters in Prometheus' text format."""
        return PlainTextResponse(metrics.as_text(), media_type=CONTENT_TYPE)

    return app


def _work(classifier: Classifier) -> Any:
    """What the batcher's thread does with texts: it alone touches tokenizer and model."""

    def work(texts: Sequence[str]) -> list[Decision | Exception]:
        results: list[Decision | Exception] = []
        prompts = []
        for text in texts:
            try:
                prompts.append(classifier.prompt(text))
                results.append(_PENDING)
            except InputError as error:
                results.append(error)
        decisions = iter(classifier.decide(prompts, len(prompts)) if prompts else [])
        return [next(decisions) if result is _PENDING else result for result in results]

    return work


_PENDING = Decision("", 0.0, None)


def _request_model(settings: ServiceSettings) -> type[BaseModel]:
    """The body of a request, within the limits."""
    text = Annotated[
        str, StringConstraints(max_length=settings.max_characters), AfterValidator(_readable)
    ]
    texts = Field(min_length=1, max_length=settings.max_texts, description="What to classify.")
    return create_model(
        "ClassifyRequest",
        __config__=ConfigDict(extra="forbid", strict=True),
        texts=(list[text], texts),
    )


def _readable(text: str) -> str:
    """A text that holds something and can be encoded (JSON may hold half a surrogate pair)."""
    if not text.strip():
        raise ValueError("the text is empty")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("the text is no valid Unicode") from error
    return text


def _add_refusals(app: FastAPI) -> None:
    """Every refusal is `{"error": one sentence}`, without an echo of what was sent."""

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        parts = [str(part) for part in first["loc"] if part != "body"]
        if first["type"] == "extra_forbidden":
            parts = []  # the name of an unknown field is the sender's
        place = ".".join(parts)
        said = f"{place or 'body'}: {first['msg'].removeprefix('Value error, ')}."
        if first["type"] == "json_invalid":
            said = f"the body is no JSON from character {place} on."
        return _refusal(said, 422)

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        return _refusal(str(error.detail), error.status_code, dict(error.headers or {}))

    @app.exception_handler(InputError)
    async def too_long(_: Request, error: InputError) -> JSONResponse:
        return _refusal(str(error), 422)

    @app.exception_handler(QueueFull)
    async def busy(*_: object) -> JSONResponse:
        headers = {"retry-after": str(_RETRY_SECONDS)}
        return _refusal("too many texts are waiting; try again.", 503, headers)


def _refusal(said: str, status: int, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": said}, status, headers)
