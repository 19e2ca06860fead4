"""The study file: which teacher, which data, which training, and the grid of cells to run.

Everything here is the *recipe*. Where a study runs (device, workers, folders) is given on the
command line and never written here, because it must not change what is computed.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from distillscale.studies.baselines_section import Baselines
from distillscale.studies.distillation_section import Distillation
from distillscale.studies.harness_section import Harness
from distillscale.studies.schedule_section import Schedule
from distillscale.studies.section import (
    Count,
    CountOrZero,
    Names,
    NonNegative,
    Positive,
    Section,
    Seed,
)
from distillscale.studies.validation import read_yaml

Configuration = Literal[
    "logit-label",
    "lora-label",
    "logit-cot",
    "logit-blended",
    "lora-cot",
    "lora-blended",
    "pruned-only",
]
Thinking = Literal["brief", "full"]
# As in `pruning`, which loads torch and so is not imported to read a study file.
PruningAxis = Literal["depth", "mlp", "heads", "groups", "hidden", "experts"]
LayerCriterion = Literal["block_influence", "angular_distance", "perplexity", "magnitude", "random"]
ChannelCriterion = Literal["mean_absolute", "l2", "contribution", "magnitude", "random"]


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

    filter: Literal["agree", "all", "gold"] = Field(
        "agree",
        description="Keep the traces whose answer is the gold label (`agree`), all parsed ones, "
        "or all parsed ones with the gold answer in place of a wrong one (`gold`).",
    )
    temperature: NonNegative = Field(
        0.0, description="0 takes the most likely token; above 0 samples."
    )
    max_new_tokens: TokenBudgets = Field(
        default_factory=TokenBudgets, description="Token budget of each thinking depth."
    )
    batch_size: Count = Field(128, description="Examples generated together.")
    served_model: str | None = Field(
        None,
        min_length=1,
        description="The name under which a chat endpoint serves the teacher: it then writes the "
        "traces, and `study run --endpoint URL` says where it is. Left out, the teacher writes "
        "them in the study's own steps.",
    )


class Pruning(Section):
    """What may be cut, and what tells what matters."""

    axes: Annotated[tuple[PruningAxis, ...], Field(min_length=1)] = Field(
        ("depth", "mlp"),
        description="What may be cut: whole layers (`depth`), MLP channels (`mlp`), query heads "
        "within every K/V group (`heads`), whole K/V groups (`groups`), hidden channels "
        "(`hidden`), experts (`experts`).",
    )
    layer_criterion: LayerCriterion = Field(
        "block_influence",
        description="How layers are scored: how much they turn the hidden state "
        "(`block_influence`), the same for blocks of consecutive layers (`angular_distance`), the "
        "loss without them (`perplexity`), or as controls by their weights (`magnitude`) and by "
        "chance (`random`).",
    )
    channel_criterion: ChannelCriterion = Field(
        "mean_absolute",
        description="How channels, heads, groups and experts are scored: mean absolute "
        "activation, its L2 norm over texts (`l2`), what they add to the output "
        "(`contribution`), or as controls by their weights (`magnitude`) and by chance (`random`).",
    )
    calibration_examples: Count = Field(
        128, description="Training examples whose activations measure importance."
    )
    multiple: Count = Field(
        8, description="MLP and hidden widths are multiples of this, as fast kernels want them."
    )
    candidates: Count = Field(
        1,
        description="Shapes of the right size that are tried on the calibration examples; the one "
        "whose predictions stay nearest to the teacher's is taken. 1 takes the evenest untried.",
    )


class Evaluation(Section):
    """What is measured at every stage of every cell."""

    benchmarks: tuple[str, ...] = Field(
        ("lab_facts", "lab_joins"),
        description="General-knowledge benchmarks; may be none: `lab_facts` and `lab_joins` of "
        "the lab, or tasks of lm-evaluation-harness by its names (`mmlu`, `arc_easy`, ...).",
    )
    harness: Harness = Field(
        default_factory=Harness, description="How benchmarks of lm-evaluation-harness are asked."
    )
    held_out_traces: Count = Field(
        128, description="Teacher traces of validation examples on which the KL is measured."
    )
    latency_examples: Count = Field(32, description="Test examples timed one at a time.")
    batch_size: Count = Field(128, description="Examples scored or generated together.")
    hourly_price: Positive | None = Field(
        None,
        description="What an hour of the machine that runs the study costs, in any currency: the "
        "report then shows money a million texts. It changes no result.",
    )

    @model_validator(mode="after")
    def _harness_settings_have_a_benchmark(self) -> Self:
        for field in ("questions", "shots"):
            for name in getattr(self.harness, field):
                if name not in self.benchmarks:
                    raise ValueError(
                        f"harness.{field} names `{name}`, which is not among the benchmarks "
                        f"({', '.join(self.benchmarks) or 'none'}); add it there, or leave it out"
                    )
        return self


class Grid(Section):
    """A full product of cells; a study's cells are the union of its grids."""

    tasks: Names = Field(description="Built-in tasks by name, or YAML files of a user's own.")
    configurations: Annotated[tuple[Configuration, ...], Field(min_length=1)] = Field(
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
    baselines: Baselines = Field(
        default_factory=Baselines, description="What students are compared with."
    )
    grids: Annotated[tuple[Grid, ...], Field(min_length=1)] = Field(
        description="The cells to run: the union of these products."
    )

    @property
    def train_examples(self) -> int:
        """Size of the training pool: as given, else the largest dataset size of the grids."""
        return self.dataset.train or max(max(grid.dataset_sizes) for grid in self.grids)

    @model_validator(mode="after")
    def _lora_has_something_to_blend(self) -> Self:
        if self.distillation.lora_objective == "cross_entropy":
            for number, grid in enumerate(self.grids):
                if "lora-blended" in grid.configurations:
                    raise ValueError(
                        f"grids[{number}].configurations has `lora-blended`, but with "
                        "distillation.lora_objective `cross_entropy` LoRA trains on the teacher's "
                        "text and has no divergence to blend; write `lora-cot`, or "
                        "`lora_objective: divergence`"
                    )
        return self

    @model_validator(mode="after")
    def _baselines_have_a_student_to_follow(self) -> Self:
        if self.baselines.models:
            for task in dict.fromkeys(task for grid in self.grids for task in grid.tasks):
                names = {
                    n for grid in self.grids if task in grid.tasks for n in grid.configurations
                }
                if names == {"pruned-only"}:
                    raise ValueError(
                        f"baselines are trained for as long as a student, but the task `{task}` "
                        "has no configuration that is distilled; add one, or leave `baselines` out"
                    )
                distilled = any(name.startswith("logit-") for name in names)
                if "same-shape-distilled" in self.baselines.models and not distilled:
                    raise ValueError(
                        "baselines.models has `same-shape-distilled`, but the task "
                        f"`{task}` has no `logit-` configuration, and adapters on random weights "
                        "learn nothing; add one, or leave it out"
                    )
        return self

    @model_validator(mode="after")
    def _some_cell_compares_with_the_teacher(self) -> Self:
        configurations = {name for grid in self.grids for name in grid.configurations}
        compares = any(name.startswith("logit-") for name in configurations)
        if compares or self.distillation.lora_objective == "divergence":
            return self
        for name in ("on_policy", "gold_mixing"):
            if getattr(self.distillation, name) > 0:
                raise ValueError(
                    f"distillation.{name} is {getattr(self.distillation, name):g}, but no "
                    "configuration compares the student with the teacher's distribution; leave it "
                    "out, add a `logit-` configuration, or write `lora_objective: divergence`"
                )
        return self

    @model_validator(mode="after")
    def _only_gold_is_mixed_in(self) -> Self:
        mixing = self.distillation.gold_mixing
        if mixing and self.annotation.filter == "all":
            raise ValueError(
                f"distillation.gold_mixing is {mixing:g}, but with annotation.filter `all` the "
                "teacher's wrong answers would be taken for gold; write `filter: gold` or "
                "`filter: agree`, or leave `gold_mixing` out"
            )
        return self

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
