"""What several command lines share."""

from typing import Annotated

import typer

LARGEST_SEED = 2**32 - 1
"""What NumPy's generators take."""

ApiKeyVariable = Annotated[
    str | None, typer.Option(help="Environment variable that holds the endpoint's key.")
]
