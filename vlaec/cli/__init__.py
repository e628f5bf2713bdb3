"""The command line: only this package prints or exits."""
