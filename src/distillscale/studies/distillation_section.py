"""The section `distillation` of a study file: how every student is trained."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from distillscale.studies.section import Count, NonNegative, Positive, Section, Share

_OPTIMIZATION = {
    "batch_size",
    "micro_batch_size",
    "warmup_ratio",
    "weight_decay",
    "max_gradient_norm",
    "bf16",
    "gradient_checkpointing",
    "compile",
}


class LearningRates(Section):
    """Peak learning rates: adapters want higher ones than full weights."""

    logit: Positive = Field(description="Peak learning rate where all weights are trained.")
    lora: Positive = Field(description="Peak learning rate where adapters are trained.")


class Distillation(Section):
    """How every student of the study is trained after each prune."""

    steps: Count = Field(description="Optimizer steps of each stage.")
    batch_size: Count = Field(description="Sequences in an optimizer step.")
    micro_batch_size: Count | None = Field(
        None,
        description="Sequences in one forward pass, to save memory; left out, all of the "
        "optimizer step's. The result is the same up to rounding.",
    )
    learning_rate: LearningRates = Field(description="Peak learning rate of each method.")
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1, description="Share of the steps over which the learning rate rises; cosine after."
    )
    weight_decay: NonNegative = Field(0.0, description="AdamW's weight decay.")
    max_gradient_norm: Positive = Field(1.0, description="Gradients are clipped to this norm.")
    divergence: Literal["forward_kl", "reverse_kl", "jensen_shannon"] = Field(
        "forward_kl",
        description="What is minimized between teacher and student: KL from the teacher "
        "(`forward_kl`), KL from the student (`reverse_kl`), or a mixture of both.",
    )
    jensen_shannon_beta: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5,
        description="beta of `jensen_shannon`: towards 0 it acts as forward, towards 1 as "
        "reverse KL.",
    )
    temperature: Positive = Field(
        1.0, description="Temperature tau of teacher and student in every divergence."
    )
    gold_mixing: Share = Field(
        0.0,
        description="Share of the trace's token in the distribution that the student learns, at "
        "answer positions; acts only where the teacher's argmax is not the trace's answer token, "
        "as with annotation.filter `gold` or sampled answers. 0: the teacher's as it is.",
    )
    on_policy: Share = Field(
        0.0,
        description="Share of the optimizer steps that train on text of the student's own, scored "
        "by an online teacher (GKD).",
    )
    hidden_weight: NonNegative = Field(
        0.0,
        description="Weight of the difference between the student's hidden states and those of "
        "the teacher's layers that it was cut from; needs an online teacher. 0: none.",
    )
    teacher: Literal["cached", "online"] = Field(
        "cached",
        description="Run the teacher over the traces once and keep what it predicts, or run it at "
        "every step (for data too large to keep).",
    )
    teacher_top_k: Annotated[int, Field(ge=2)] | None = Field(
        None,
        description="Keep only the teacher's most likely tokens, this many, and the mass left "
        "over; left out, its exact distribution.",
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
    lora_objective: Literal["cross_entropy", "divergence"] = Field(
        "cross_entropy",
        description="What LoRA minimizes: cross entropy on the teacher's text, or the divergence "
        "from its distribution as `logit` does.",
    )
    lora_rank: Count = Field(8, description="Rank of the LoRA adapters.")
    lora_alpha: Positive = Field(16.0, description="LoRA updates are scaled by alpha / rank.")
    bf16: bool = Field(False, description="Train in bfloat16 mixed precision.")
    gradient_checkpointing: bool = Field(
        False, description="Compute activations twice rather than hold them: slower, less memory."
    )
    compile: bool = Field(
        False,
        description="Compile the student with torch.compile: takes a minute and saves little for "
        "small models on CPUs; the same numbers up to rounding.",
    )

    @property
    def optimization(self) -> dict[str, Any]:
        """How distillation optimizes, and so also any training on gold labels."""
        return self.model_dump(include=_OPTIMIZATION)

    @model_validator(mode="after")
    def _only_an_online_teacher_answers_everything(self) -> Self:
        for name in ("on_policy", "hidden_weight"):
            if getattr(self, name) and self.teacher != "online":
                raise ValueError(
                    f"`{name}` is {getattr(self, name):g} but the teacher is `{self.teacher}`, and "
                    "only one that runs while the student trains can tell what this needs; write "
                    "`teacher: online`"
                )
        return self

    @model_validator(mode="after")
    def _only_a_cache_is_cut(self) -> Self:
        if self.teacher == "online" and self.teacher_top_k is not None:
            raise ValueError(
                f"`teacher_top_k` is {self.teacher_top_k} but an `online` teacher gives its exact "
                "distribution; leave `teacher_top_k` out or write `teacher: cached`"
            )
        return self
