"""Entropy coding: the stack, its symbols, exact arithmetic, chunks of a container."""
