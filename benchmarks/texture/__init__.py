"""What resampled texture is worth, measured and drawn: `python -m benchmarks.texture --help`."""
