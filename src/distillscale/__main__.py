"""`python -m distillscale`: the command line."""

from distillscale.cli import main

if __name__ == "__main__":
    main()
