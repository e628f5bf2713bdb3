"""Training of set models."""
