"""The exceptions that distillscale raises on purpose.

DistillscaleError            exit code 1: the run cannot go on; the sentence says why
├── InputError               exit code 2: a file, field or value that the user gave is wrong
├── EndpointFailed           a chat endpoint can answer none of the requests
├── TrainingDiverged         a loss stopped being finite; names the step
└── DamagedArtifact          a stored artifact no longer matches its checksums
"""


class DistillscaleError(Exception):
    """Base of every deliberate error; its text is one sentence fit for a user to read."""

    exit_code = 1


class InputError(DistillscaleError):
    """The user's input is wrong: names the file, field and value, and what would be right."""

    exit_code = 2


class EndpointFailed(DistillscaleError):
    """A chat endpoint can answer none of the requests: says what the server said."""


class TrainingDiverged(DistillscaleError):
    """The training loss became infinite or NaN; names the optimizer step."""


class DamagedArtifact(DistillscaleError):
    """A stored artifact's files do not match the checksums in its manifest."""
