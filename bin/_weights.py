"""Fetch and build the metrics' weights: `_weights.py FOLDER`, called by `get-weights`."""

import sys
from pathlib import Path

from vlaec.bench.weights import get_weights
from vlaec.errors import VlaecError

try:
    for path in get_weights(Path(sys.argv[1])):
        print(path)
except VlaecError as error:
    print(f"vlaec: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
