# Sourced by the launchers with $root set: makes sure that $root/.venv is complete and current, for
# running, or with $level set to dev for training and tests, too.
# The stamp covers the locks, the packages' declarations and the folder (an editable install and the
# scripts of a venv hold absolute paths), so a changed or moved checkout is set up again.
level=${level:-run}
stamp="$(cat "$root"/requirements.lock "$root"/requirements-dev.lock "$root"/pyproject.toml \
    "$root"/models/sets/pyproject.toml | cksum) $root"
case "$(cat "$root/.venv/vlaec-stamp" 2>/dev/null)" in
"dev $stamp" | "$level $stamp") ;;
*) "${PYTHON:-python3}" "$root/bin/_setup.py" "$stamp" "$level" || exit 1 ;;
esac
