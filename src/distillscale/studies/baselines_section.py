"""The section `baselines` of a study file: what one would use instead of a student."""

from typing import Literal, Self

from pydantic import Field, model_validator

from distillscale.studies.section import Section

BaselineName = Literal["tfidf", "encoder", "same-shape-gold", "same-shape-distilled"]


class Baselines(Section):
    """What students are compared with, trained on the same rows and tested on the same."""

    models: tuple[BaselineName, ...] = Field(
        (),
        description="`tfidf` (TF-IDF with logistic regression), `encoder` (fine-tuned), and models "
        "of the smallest student's shape from random weights, trained on the gold labels "
        "(`same-shape-gold`) or distilled as it was (`same-shape-distilled`); may be none.",
    )
    encoder: str | None = Field(
        None,
        min_length=1,
        description="The pretrained encoder: a folder with safetensors weights, or a model's name "
        "on the hub. Left out, a small one from random weights stands in.",
    )

    @model_validator(mode="after")
    def _the_encoder_is_asked_for(self) -> Self:
        if self.encoder is not None and "encoder" not in self.models:
            raise ValueError(
                f"`encoder` is `{self.encoder}`, but `encoder` is not among the models "
                f"({', '.join(self.models) or 'none'}); add it there, or leave this out"
            )
        return self
