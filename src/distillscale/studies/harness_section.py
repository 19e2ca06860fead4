"""How a study asks the benchmarks of lm-evaluation-harness."""

from typing import Literal

from pydantic import Field

from distillscale.studies.section import Count, CountOrZero, Section


class Harness(Section):
    """How benchmarks of lm-evaluation-harness are asked; those of the lab do not read this."""

    questions: dict[Literal["mmlu", "mmlu_pro"], str] = Field(
        default_factory=dict,
        description="Folders of question files (docs/knowledge.md), by benchmark; a benchmark "
        "without one is downloaded from the hub.",
    )
    shots: dict[str, CountOrZero] = Field(
        default_factory=dict,
        description="Solved questions in the prompt, by benchmark; left out, 5 for `mmlu` and "
        "`mmlu_pro`, and the harness's own number for others.",
    )
    limit: Count | None = Field(
        None,
        description="Questions of each subject, drawn at random from `dataset.seed`; left out, "
        "all.",
    )
    max_new_tokens: Count | None = Field(
        None,
        description="Largest length of a free-text answer; left out, the benchmark's own (2,048 "
        "for `mmlu_pro`).",
    )
    backend: Literal["hf", "vllm"] = Field(
        "hf", description="What answers: the loaded model (`hf`), or vLLM, where it is installed."
    )
    batch_size: Count = Field(
        8, description="Prompts answered together; they are long, five solved questions each."
    )
