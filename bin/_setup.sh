# Sourced by the launchers with $root set: makes sure that $root/.venv is complete and current.
# The stamp covers the lock, the packages' declarations and the folder (an editable install and the
# scripts of a venv hold absolute paths), so a changed or moved checkout is set up again.
stamp="$(cat "$root/requirements.lock" "$root/pyproject.toml" "$root/models/sets/pyproject.toml" | cksum) $root"
if [ "$(cat "$root/.venv/vlaec-stamp" 2>/dev/null)" != "$stamp" ]; then
    "${PYTHON:-python3}" "$root/bin/_setup.py" "$stamp" || exit 1
fi
