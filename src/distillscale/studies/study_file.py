"""The study file: which teacher, which data, which training, and the grid of cells to run.

Everything here is the *recipe*. Where a study runs (device, workers, folders) is given on the
command line and never written here, because it must not change what is computed.
"""

import itertools
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from distillscale.studies.validation import read_yaml

Configuration = Literal[
    "logit-label", "lora-label", "logit-cot", "logit-blended", "lora-cot", "pruned-only"
]
Thinking = Literal["brief", "full"]
Benchmark = Literal["lab_facts", "lab_joins", "mmlu", "mmlu_pro"]

Count = Annotated[int, Field(gt=0)]
CountOrZero = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what NumPy's generators take
Share = Annotated[float, Field(ge=0, le=1)]
Kept = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Names = Annotated[tuple[str, ...], Field(min_length=1)]


def _not_lora_blended(name: object) -> object:
    if name == "lora-blended":
        raise ValueError(
            "`lora-blended` does not exist, because LoRA trains on the teacher's text by cross "
            "entropy and has no KL to blend; write `lora-cot`"
        )
    return name


class Section(BaseModel):
    """A part of the study file: immutable, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Teacher(Section):
    """The full model whose behaviour is distilled; also the model that is pruned."""

    model: str = Field(
        "lab",
        min_length=1,
        description="`lab` (the teacher that the package brings), a Hugging Face folder, or a "
        "model's name on the hub.",
    )
    revision: str | None = Field(
        None, description="Commit or tag of a hub model, so that the study stays repeatable."
    )
    correction_steps: CountOrZero = Field(
        0, description="Optimizer steps on the task's gold labels before distillation; 0: none."
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="Number format of the teacher's weights."
    )


class Dataset(Section):
    """The labelled examples and the general-knowledge questions."""

    source: str = Field(
        "lab",
        min_length=1,
        description="`lab` (the synthetic world), a CSV, JSON Lines or Parquet file, or a "
        "dataset's name on the hub.",
    )
    text_column: str | None = Field(
        None, description="Column of the inputs; needed unless `source` is `lab`."
    )
    label_column: str | None = Field(
        None, description="Column of the gold labels; needed unless `source` is `lab`."
    )
    test_source: str | None = Field(
        None,
        min_length=1,
        description="A file, or a dataset's name on the hub, with the test examples and the same "
        "columns; left out, test examples are split from `source`.",
    )
    train: Count | None = Field(
        None,
        description="Size of the training pool that dataset sizes are drawn from; left out, the "
        "largest dataset size of the grids.",
    )
    validation: Count = Field(description="Number of validation examples.")
    test: Count = Field(description="Number of test examples.")
    questions: Count = Field(
        240, description="Largest number of general-knowledge questions a benchmark of the lab."
    )
    seed: Seed = Field(0, description="Seed of the data: its generation and its splits.")

    @model_validator(mode="after")
    def _columns_are_named(self) -> Self:
        if self.source != "lab" and not (self.text_column and self.label_column):
            raise ValueError(
                f"source `{self.source}` needs `text_column` and `label_column`, the names of its "
                "columns with the inputs and the gold labels"
            )
        if self.source == "lab" and (self.text_column or self.label_column or self.test_source):
            raise ValueError(
                "source `lab` takes no `text_column`, `label_column` or `test_source`; leave them "
                "out"
            )
        return self


class TokenBudgets(Section):
    """How many tokens the teacher may write, by thinking depth."""

    brief: Count = Field(32, description="Token budget of brief reasoning with its answer.")
    full: Count = Field(64, description="Token budget of full reasoning with its answer.")


class Annotation(Section):
    """How the teacher writes its traces."""

    filter: Literal["agree", "all"] = Field(
        "agree", description="Keep the traces whose answer is the gold label, or all parsed ones."
    )
    temperature: NonNegative = Field(
        0.0, description="0 takes the most likely token; above 0 samples."
    )
    max_new_tokens: TokenBudgets = Field(
        default_factory=TokenBudgets, description="Token budget of each thinking depth."
    )
    batch_size: Count = Field(128, description="Examples generated together.")


class Pruning(Section):
    """What may be cut, and the data that tells what matters."""

    axes: Annotated[tuple[Literal["depth", "mlp"], ...], Field(min_length=1)] = Field(
        ("depth", "mlp"), description="What may be cut: whole layers, MLP channels, or both."
    )
    calibration_examples: Count = Field(
        128, description="Training examples whose activations measure importance."
    )
    multiple: Count = Field(
        8, description="MLP widths are multiples of this, as fast kernels want them."
    )


class LearningRates(Section):
    """Peak learning rates: adapters want higher ones than full weights."""

    logit: Positive = Field(description="Peak learning rate where all weights are trained.")
    lora: Positive = Field(description="Peak learning rate where adapters are trained.")


class Distillation(Section):
    """How every student of the study is trained after each prune."""

    steps: Count = Field(description="Optimizer steps of each stage.")
    batch_size: Count = Field(description="Sequences in an optimizer step.")
    learning_rate: LearningRates = Field(description="Peak learning rate of each method.")
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1, description="Share of the steps over which the learning rate rises; cosine after."
    )
    weight_decay: NonNegative = Field(0.0, description="AdamW's weight decay.")
    max_gradient_norm: Positive = Field(1.0, description="Gradients are clipped to this norm.")
    temperature: Positive = Field(
        1.0, description="Temperature tau of teacher and student in every KL term."
    )
    answer_weight: Share = Field(
        0.5, description="w of the blended loss: weight of the answer against the reasoning."
    )
    reasoning_anchor: Share = Field(
        0.5, description="b_R of the blended loss: weight of CE against KL in the reasoning."
    )
    answer_anchor: Share = Field(
        0.5, description="b_A of the blended loss: weight of CE against KL in the answer."
    )
    lora_rank: Count = Field(8, description="Rank of the LoRA adapters.")
    lora_alpha: Positive = Field(16.0, description="LoRA updates are scaled by alpha / rank.")
    bf16: bool = Field(False, description="Train in bfloat16 mixed precision.")


class Evaluation(Section):
    """What is measured at every stage of every cell."""

    benchmarks: tuple[Benchmark, ...] = Field(
        ("lab_facts", "lab_joins"), description="General-knowledge benchmarks; may be none."
    )
    held_out_traces: Count = Field(
        128, description="Teacher traces of validation examples on which the KL is measured."
    )
    latency_examples: Count = Field(32, description="Test examples timed one at a time.")
    batch_size: Count = Field(128, description="Examples scored or generated together.")


class Oneshot(Section):
    """One stage that cuts to the target at once."""

    kind: Literal["oneshot"]
    prune_ratio: Kept = Field(description="Share of the teacher's parameters kept at the end.")


class Uniform(Section):
    """Every stage keeps the same share of the model before it."""

    kind: Literal["uniform"]
    stages: Annotated[int, Field(ge=2)] = Field(description="Number of stages.")
    prune_ratio: Kept = Field(description="Share of the teacher's parameters kept at the end.")


class Decayed(Section):
    """Every stage cuts gamma times as much as the one before it, in logarithms."""

    kind: Literal["decayed"]
    stages: Annotated[int, Field(ge=2)] = Field(description="Number of stages.")
    prune_ratio: Kept = Field(description="Share of the teacher's parameters kept at the end.")
    gamma: Kept = Field(description="Factor by which the cut shrinks from stage to stage.")


class Explicit(Section):
    """The share kept after each stage, listed."""

    kind: Literal["explicit"]
    prune_ratios: Annotated[tuple[Kept, ...], Field(min_length=1)] = Field(
        description="Share of the teacher's parameters kept after each stage, falling."
    )

    @field_validator("prune_ratios")
    @classmethod
    def _fall(cls, ratios: tuple[float, ...]) -> tuple[float, ...]:
        if any(later >= earlier for earlier, later in itertools.pairwise(ratios)):
            raise ValueError("each ratio must be smaller than the one before it")
        return ratios


Schedule = Annotated[Oneshot | Uniform | Decayed | Explicit, Field(discriminator="kind")]


class Grid(Section):
    """A full product of cells; a study's cells are the union of its grids."""

    tasks: Names = Field(description="Built-in tasks by name, or YAML files of a user's own.")
    configurations: Annotated[
        tuple[Annotated[Configuration, BeforeValidator(_not_lora_blended)], ...],
        Field(min_length=1),
    ] = Field(
        description="Method and supervision of each chain; `pruned-only` is the control that is "
        "never distilled and ignores thinking depth and dataset size."
    )
    thinking: Annotated[tuple[Thinking, ...], Field(min_length=1)] = Field(
        ("brief",), description="Depths of the teacher's reasoning, for `cot` and `blended`."
    )
    schedules: Annotated[tuple[Schedule, ...], Field(min_length=1)] = Field(
        description="How much is kept after each stage."
    )
    dataset_sizes: Annotated[tuple[Count, ...], Field(min_length=1)] = Field(
        description="Training examples given to the teacher for annotation."
    )
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = Field(
        (0,), description="Seeds of pruning, distillation and data order."
    )


class Study(Section):
    """A study: one teacher, one recipe, and grids of cells to compare."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="Name of the study in tables and folders: letters, digits, `.`, `_`, `-`.",
    )
    teacher: Teacher = Field(default_factory=Teacher, description="The model to compress.")
    dataset: Dataset = Field(description="Examples and questions.")
    annotation: Annotation = Field(
        default_factory=Annotation, description="How traces are sampled and which are kept."
    )
    pruning: Pruning = Field(default_factory=Pruning, description="What may be cut.")
    distillation: Distillation = Field(description="How students are trained.")
    evaluation: Evaluation = Field(
        default_factory=Evaluation, description="What is measured at every stage."
    )
    grids: Annotated[tuple[Grid, ...], Field(min_length=1)] = Field(
        description="The cells to run: the union of these products."
    )

    @property
    def train_examples(self) -> int:
        """Size of the training pool: as given, else the largest dataset size of the grids."""
        return self.dataset.train or max(max(grid.dataset_sizes) for grid in self.grids)

    @model_validator(mode="after")
    def _pool_is_large_enough(self) -> Self:
        for number, grid in enumerate(self.grids):
            if max(grid.dataset_sizes) > self.train_examples:
                raise ValueError(
                    f"grids[{number}].dataset_sizes asks for {max(grid.dataset_sizes)} examples, "
                    f"but dataset.train is {self.train_examples}; it must be at least as large"
                )
        return self


def read_study(path: Path) -> Study:
    """Read and check a study file.

    Raises:
        InputError: the file is missing, not YAML, or breaks a rule; one sentence an error, each
            with the line, the field, its value, and what would be right.
    """
    return read_yaml(path, Study)
