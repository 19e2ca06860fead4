"""Settings that all tests share."""

from hypothesis import settings

# A busy machine is no failure: no test asserts seconds, hypothesis included.
settings.register_profile("distillscale", deadline=None, derandomize=True)
settings.load_profile("distillscale")
