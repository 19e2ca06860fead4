import pytest
from replies import completion

from distillscale.models.endpoint import TokenLogProb, Usage
from distillscale.models.endpoint.reading import completion_of, log_probs_of, usage_of


@pytest.mark.parametrize(
    ("document", "text", "reasoning"),
    [
        (completion(" answer\n"), "answer", None),
        (completion("answer", reasoning_content=" why "), "answer", "why"),
        (completion("answer", reasoning="why"), "answer", "why"),
        (completion("<think>\nwhy\n</think>\n\nanswer"), "answer", "why"),
        (completion("why\n</think>\n\nanswer"), "answer", "why"),  # the template opened the block
        (completion("<think>why, and then the budget"), "", "why, and then the budget"),
        (completion("<think>\n\n</think>\n\nanswer"), "answer", None),  # Qwen3, thinking off
        (completion("<think></think>answer"), "answer", None),
        (completion(None, reasoning_content="why"), "", "why"),
    ],
)
def test_reasoning_is_told_from_the_answer(
    document: dict[str, object], text: str, reasoning: str | None
) -> None:
    assert completion_of(document) == (text, reasoning, "stop")


@pytest.mark.parametrize(
    "document",
    [None, [], {}, {"choices": []}, {"choices": [{"text": "x"}]}, completion(["parts"])],  # type: ignore[arg-type]
)
def test_what_is_no_completion_is_refused(document: object) -> None:
    with pytest.raises(ValueError, match=r"message|content"):
        completion_of(document)


def test_halves_of_surrogate_pairs_are_replaced() -> None:
    assert completion_of(completion("a\ud83d b"))[0] == "a? b"


def test_usage_is_missing_where_the_server_reports_none() -> None:
    assert usage_of(completion("x")) == Usage(1, 11, 5)
    assert usage_of(completion("x", usage=None)) is None
    assert usage_of(completion("x", usage={"prompt_tokens": 3})) is None


def test_log_probabilities_as_openai_and_vllm_write_them() -> None:
    logprobs = {
        "content": [
            {
                "token": "drug",
                "logprob": -0.1,
                "bytes": [100],
                "top_logprobs": [
                    {"token": "drug", "logprob": -0.1, "bytes": None},
                    {"token": "permit", "logprob": -2.5, "bytes": None},
                ],
            },
            {"token": "_", "logprob": -1.0, "top_logprobs": []},
        ]
    }
    assert log_probs_of(completion("drug_", logprobs=logprobs)) == (
        TokenLogProb("drug", -0.1, (("drug", -0.1), ("permit", -2.5))),
        TokenLogProb("_", -1.0, ()),
    )
    assert log_probs_of(completion("x")) is None
    assert log_probs_of(completion("x", logprobs={"content": [{"token": "x"}]})) is None
    assert log_probs_of(completion("x", logprobs=["no", "such"])) is None
