"""`python -m vlaec`."""

from .cli.main import main

main()
