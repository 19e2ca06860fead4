"""What each command does; `cli.py` turns it into a command line."""
