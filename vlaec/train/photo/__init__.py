"""Training of photo models."""
