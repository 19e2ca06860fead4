"""What is trained, towards what, and how: the settings that are part of a run's identity."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from distillscale.distillation.divergences import DIVERGENCES
from distillscale.distillation.objectives import OBJECTIVES, LossWeights, Objective
from distillscale.errors import InputError

Method = Literal["logit", "lora"]
Supervision = Literal["label", "cot", "blended"]
DivergenceName = Literal["forward_kl", "reverse_kl", "jensen_shannon"]
LoraObjective = Literal["cross_entropy", "divergence"]


@dataclass(frozen=True)
class AdapterSettings:
    """Low-rank adapters on all linear projections; their update is scaled by alpha / rank."""

    rank: int = 8
    alpha: float = 16.0


@dataclass(frozen=True)
class DivergenceSettings:
    """How the teacher's distribution is compared with the student's, wherever an objective does.

    `name` is one of `DIVERGENCES`, of which `jensen_shannon` reads `beta` (0 to 1, without
    the ends). `temperature` is tau. `gold_mixing` (0 to 1) is the share of the trace's token in the
    teacher's distribution at answer positions: it acts only where the teacher's most likely token
    is not the trace's answer token, as with gold answers in place of wrong ones, or sampled
    answers. A share `on_policy` of the optimizer steps compares the two on the student's own
    rollouts (see `on_policy`).
    """

    name: DivergenceName = "forward_kl"
    beta: float = 0.5
    temperature: float = 1.0
    gold_mixing: float = 0.0
    on_policy: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """What is trained towards what.

    An objective weighs the supervised positions; None for `divergence`: it reads only the traces'
    tokens. `hidden_weight` times the matching of hidden states (see `hidden_matching`) is added.
    With `adapters` only these train, else all weights.
    """

    objective: Objective
    weights: LossWeights = field(default_factory=LossWeights)
    divergence: DivergenceSettings | None = field(default_factory=DivergenceSettings)
    hidden_weight: float = 0.0
    adapters: AdapterSettings | None = None

    @property
    def on_policy(self) -> float:
        """Share of the optimizer steps on the student's rollouts."""
        return self.divergence.on_policy if self.divergence else 0.0


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How the trainer optimizes, whatever the objective and whichever weights train.

    `learning_rate` is the peak: reached by linear warm-up from zero over `warmup_ratio` of the
    `steps`, then a cosine decay to zero. `weight_decay` spares norms and biases. Gradients are
    clipped to `max_gradient_norm`. `seed` sets data order, rollouts and the adapters' start. A
    checkpoint is written every `checkpoint_steps` steps (0: never).

    The rest changes the numbers by rounding only, except `bf16`. An optimizer step reads
    `batch_size` rows (over all processes), `micro_batch_size` of them (None: all) in one forward
    pass. `gradient_checkpointing` computes the layers' activations twice instead of holding them.
    `compile` compiles the body of the model. With `bf16` the model's matrix products run in
    bfloat16 while its weights and the loss keep their precision.
    """

    steps: int
    batch_size: int
    learning_rate: float
    micro_batch_size: int | None = None
    warmup_ratio: float = 0.1
    weight_decay: float = 0.0
    max_gradient_norm: float = 1.0
    bf16: bool = False
    gradient_checkpointing: bool = False
    compile: bool = False
    seed: int = 0
    checkpoint_steps: int = 0

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InputError: a value is out of its range.
        """
        _check(self, "steps", self.steps >= 1, "at least 1")
        _check(self, "batch_size", self.batch_size >= 1, "at least 1")
        micro = self.micro_batch_size
        _check(self, "micro_batch_size", micro is None or micro >= 1, "at least 1, or left out")
        _check(self, "learning_rate", self.learning_rate > 0, "above 0")
        _check(self, "warmup_ratio", 0 <= self.warmup_ratio < 1, "from 0 up to but not 1")
        _check(self, "weight_decay", self.weight_decay >= 0, "at least 0")
        _check(self, "max_gradient_norm", self.max_gradient_norm > 0, "above 0")
        _check(self, "checkpoint_steps", self.checkpoint_steps >= 0, "at least 0")


@dataclass(frozen=True, kw_only=True)
class DistillationSettings(TrainingSettings):
    """A distillation: `method` and `supervision` choose which weights train and the objective.

    | method | weights that train | objective |
    |---|---|---|
    | `logit` | all | the supervision's: `label`, `cot` or `blended` |
    | `lora` | adapters, merged afterwards | by `lora_objective` |

    `lora_objective` is `cross_entropy` on the trace's tokens (sequence-level distillation), or
    `divergence`: the supervision's objective, as with `logit`.

    What is part of `DivergenceSettings` acts where a divergence is minimized, the three weights (0
    to 1: w, b_R and b_A of `objectives`) with supervision `blended`, rank and alpha with `lora`,
    and `hidden_weight` always.
    """

    method: Method
    supervision: Supervision
    divergence: DivergenceName = "forward_kl"
    jensen_shannon_beta: float = 0.5
    temperature: float = 1.0
    gold_mixing: float = 0.0
    on_policy: float = 0.0
    hidden_weight: float = 0.0
    answer_weight: float = 0.5
    reasoning_anchor: float = 0.5
    answer_anchor: float = 0.5
    lora_objective: LoraObjective = "cross_entropy"
    lora_rank: int = 8
    lora_alpha: float = 16.0

    def __post_init__(self) -> None:
        """Check ranges and names.

        Raises:
            InputError: a value is out of its range, or a name unknown.
        """
        super().__post_init__()
        for name, known in (
            ("method", get_args(Method)),
            ("supervision", get_args(Supervision)),
            ("divergence", tuple(DIVERGENCES)),
            ("lora_objective", get_args(LoraObjective)),
        ):
            _check(self, name, getattr(self, name) in known, "one of " + ", ".join(known))
        beta = self.jensen_shannon_beta
        _check(self, "jensen_shannon_beta", 0 < beta < 1, "between 0 and 1")
        _check(self, "temperature", self.temperature > 0, "above 0")
        for name in (
            "gold_mixing",
            "on_policy",
            "answer_weight",
            "reasoning_anchor",
            "answer_anchor",
        ):
            _check(self, name, 0 <= getattr(self, name) <= 1, "from 0 to 1")
        _check(self, "hidden_weight", self.hidden_weight >= 0, "at least 0")
        _check(self, "lora_rank", self.lora_rank >= 1, "at least 1")
        _check(self, "lora_alpha", self.lora_alpha > 0, "above 0")

    @property
    def recipe(self) -> Recipe:
        """What the method and the supervision stand for."""
        adapters = None
        if self.method == "lora":
            adapters = AdapterSettings(self.lora_rank, self.lora_alpha)
        if adapters and self.lora_objective == "cross_entropy":
            return Recipe(
                OBJECTIVES["cross_entropy"],
                divergence=None,
                hidden_weight=self.hidden_weight,
                adapters=adapters,
            )
        return Recipe(
            OBJECTIVES[self.supervision],
            LossWeights(self.answer_weight, self.reasoning_anchor, self.answer_anchor),
            DivergenceSettings(
                self.divergence,
                self.jensen_shannon_beta,
                self.temperature,
                self.gold_mixing,
                self.on_policy,
            ),
            self.hidden_weight,
            adapters,
        )


def _check(settings: TrainingSettings, field: str, holds: bool, expected: str) -> None:
    if not holds:
        raise InputError(
            f"{type(settings).__name__}: {field} is {getattr(settings, field)!r}, "
            f"it must be {expected}."
        )
