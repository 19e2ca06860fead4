"""distillscale: how small can a language model go on one narrow task?"""

__version__ = "0.1.0"
