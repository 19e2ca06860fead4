"""What a practitioner reads first: which model to make, in words."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """One model that could be made, as the decision's table shows it; missing numbers are None.

    Attributes:
        role: why it is listed.
        model: configuration.
        place: where on its chain it is, in words.
        params, params_with_embeddings: its size.
        share: of the teacher's parameters.
        macro_f1: expected of a new run, or the mean of its runs, with an interval where known.
        f1_share, general_share: of the teacher's value.
        milliseconds: per example, of this model or of the next larger that was measured.
        probability: that a new run meets the rule.
        batch_milliseconds: as `milliseconds`, in batches of 32.
    """

    role: str
    model: str
    place: str
    params: int
    params_with_embeddings: int
    share: float
    macro_f1: float
    interval: tuple[float, float] | None
    f1_share: float
    general: float | None
    general_share: float | None
    milliseconds: float | None
    probability: float | None
    batch_milliseconds: float | None


@dataclass(frozen=True)
class Decision:
    """The answer for one task.

    Attributes:
        rule: what was asked for, in words.
        threshold: the macro F1 that the rule demands.
        sentence: the answer.
        options: the answer first, then what else to know of.
        remarks: what limits the answer.
        command: prints the whole answer.
        study_file: the YAML of the cell that makes the model; empty where there is nothing to make.
        instead: which baseline is at least as good at lower cost; empty where none is.
    """

    task: str
    rule: str
    threshold: float
    sentence: str
    options: tuple[Option, ...]
    remarks: tuple[str, ...]
    command: str
    study_file: str
    instead: str = ""
