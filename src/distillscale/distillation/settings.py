"""What is trained, towards what, and how: the settings that are part of a run's identity."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from distillscale.distillation.losses import OBJECTIVES, LossWeights, Objective
from distillscale.errors import InputError

Method = Literal["logit", "lora"]
Supervision = Literal["label", "cot", "blended"]


@dataclass(frozen=True)
class AdapterSettings:
    """Low-rank adapters on all linear projections; their update is scaled by alpha / rank."""

    rank: int = 8
    alpha: float = 16.0


@dataclass(frozen=True)
class Recipe:
    """What is trained towards what: an objective, and adapters (None: all weights train)."""

    objective: Objective
    weights: LossWeights = field(default_factory=LossWeights)
    adapters: AdapterSettings | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How the trainer optimizes, whatever the objective and whichever weights train.

    `learning_rate` is the peak: reached by linear warm-up from zero over `warmup_ratio` of the
    `steps`, then a cosine decay to zero. `weight_decay` spares norms and biases. Gradients are
    clipped to `max_gradient_norm`. With `bf16` the model's matrix products run in bfloat16 while
    its weights and the loss keep their precision. `seed` sets data order and the adapters' start.
    A checkpoint is written every `checkpoint_steps` steps (0: never).
    """

    steps: int
    batch_size: int
    learning_rate: float
    warmup_ratio: float = 0.1
    weight_decay: float = 0.0
    max_gradient_norm: float = 1.0
    bf16: bool = False
    seed: int = 0
    checkpoint_steps: int = 0

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InputError: a value is out of its range.
        """
        _check(self, "steps", self.steps >= 1, "at least 1")
        _check(self, "batch_size", self.batch_size >= 1, "at least 1")
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
    | `lora` | adapters, merged afterwards | `cross_entropy` on the trace's tokens |

    The temperature (above 0) and the three weights (0 to 1: w, b_R and b_A of `losses`) act with
    method `logit`, the adapters' rank and alpha with `lora`.
    """

    method: Method
    supervision: Supervision
    temperature: float = 1.0
    answer_weight: float = 0.5
    reasoning_anchor: float = 0.5
    answer_anchor: float = 0.5
    lora_rank: int = 8
    lora_alpha: float = 16.0

    def __post_init__(self) -> None:
        """Check ranges and names.

        Raises:
            InputError: a value is out of its range, or a name unknown.
        """
        super().__post_init__()
        for name, known in (("method", get_args(Method)), ("supervision", get_args(Supervision))):
            _check(self, name, getattr(self, name) in known, "one of " + ", ".join(known))
        _check(self, "temperature", self.temperature > 0, "above 0")
        for name in ("answer_weight", "reasoning_anchor", "answer_anchor"):
            _check(self, name, 0 <= getattr(self, name) <= 1, "from 0 to 1")
        _check(self, "lora_rank", self.lora_rank >= 1, "at least 1")
        _check(self, "lora_alpha", self.lora_alpha > 0, "above 0")

    @property
    def recipe(self) -> Recipe:
        """What the method and the supervision stand for."""
        if self.method == "lora":
            adapters = AdapterSettings(self.lora_rank, self.lora_alpha)
            return Recipe(OBJECTIVES["cross_entropy"], adapters=adapters)
        weights = LossWeights(
            self.temperature, self.answer_weight, self.reasoning_anchor, self.answer_anchor
        )
        return Recipe(OBJECTIVES[self.supervision], weights)


def _check(settings: TrainingSettings, field: str, holds: bool, expected: str) -> None:
    if not holds:
        raise InputError(
            f"{type(settings).__name__}: {field} is {getattr(settings, field)!r}, "
            f"it must be {expected}."
        )
