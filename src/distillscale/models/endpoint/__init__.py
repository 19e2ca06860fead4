"""A client of any OpenAI-compatible chat endpoint: vLLM, NIM, `transformers serve`, hosted.

    settings = EndpointSettings("http://localhost:8000/v1", "my-model")
    endpoint = Endpoint(settings, Budget(tokens=1_000_000), dead_letters=folder / "dead.jsonl")
    batch = endpoint.complete(ChatRequest(str(n), (Message("user", text),), 256) for ...)
    batch.outcomes      # an Answer or a Failure each, in the order of the requests
    batch.budget_spent  # None, or a sentence why the rest was not asked
    endpoint.usage      # tokens so far; Endpoint(settings, budget, spent=usage) goes on from there

The HTTP library is `httpx2`, which transformers' hub client brings anyway: the extra `endpoint`
adds no package. The back-off is our own small module instead of `tenacity`: it must obey
`Retry-After`, hold back all requests together when the server says 429, and give reservations
back to the budget between attempts, none of which tenacity does.
"""

from distillscale.models.endpoint.client import Endpoint
from distillscale.models.endpoint.exchange import (
    Answer,
    Batch,
    BudgetSpent,
    ChatRequest,
    Failure,
    FailureReason,
    Message,
    Outcome,
    TokenLogProb,
    Usage,
)
from distillscale.models.endpoint.settings import Budget, EndpointSettings

__all__ = [
    "Answer",
    "Batch",
    "Budget",
    "BudgetSpent",
    "ChatRequest",
    "Endpoint",
    "EndpointSettings",
    "Failure",
    "FailureReason",
    "Message",
    "Outcome",
    "TokenLogProb",
    "Usage",
]
