import pytest
from laws_tables import row, table

from distillscale.errors import InputError
from distillscale.laws.advice.constraints import Constraint, read_constraints
from distillscale.laws.advice.flips import Flip


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (0.8765, "0.8765"), (0.85, "0.85"), (0.12345678, "0.12345678"), (600000, "600,000"),
        (1234567.5, "1,234,567.5"), (1, "1"), (-2.0, "-2"), (1e-7, "1e-07"),
    ],
)  # fmt: skip
def test_a_threshold_is_printed_with_the_digits_that_were_given(given: float, said: str) -> None:
    assert str(Constraint("macro_f1", "min", given)) == f"macro_f1 >= {said}"


def test_digits_that_differ_only_far_behind_are_told_apart_in_a_refusal() -> None:
    with pytest.raises(InputError, match=r"macro_f1=0\.8766 exceeds --max macro_f1=0\.8765;"):
        read_constraints(table([row()]), {"macro_f1": 0.8766}, {"macro_f1": 0.8765})


def test_a_flip_names_the_given_threshold_and_not_a_rounded_one() -> None:
    flip = Flip(Constraint("macro_f1", "min", 0.8765), 0.8761234567, None)
    assert str(flip) == "macro_f1 >= 0.876123 in place of 0.8765: nothing satisfies all"
    size = Flip(Constraint("params", "max", 600_000), 654_321.4, None)
    assert str(size) == "params <= 654,321 in place of 600,000: nothing satisfies all"
