"""The blind comparison: its page, and Elo from the choices that it saves."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("bjontegaard")

from vlaec.bench.blind import trials, write_blind
from vlaec.bench.elo import Vote, ratings, read_votes
from vlaec.bench.viewer import Exhibit, Shot
from vlaec.cli.bench import bench
from vlaec.errors import UsageError

HEADER = "rater,picture,rate,left,right,choice,left_bpp,right_bpp,seconds\r\n"


def exhibit() -> Exhibit:
    shots = {
        "a": Shot("data:image/webp;base64,AA", 0.20, 1),
        "b </script>": Shot("data:image/webp;base64,BB", 0.21, 2),
        "far": Shot("data:image/webp;base64,CC", 0.40, 3),
    }
    return Exhibit("p.png", "data:image/webp;base64,00", {"0.2": shots}, {})


def test_only_files_of_equal_size_meet_and_names_are_coded(tmp_path: Path) -> None:
    (trial,) = trials([exhibit()])
    assert [base64.b64decode(row).decode() for row in trial["rows"]] == ["a", "b </script>"]
    write_blind(tmp_path / "blind.html", "set", [exhibit()])
    html = (tmp_path / "blind.html").read_text()
    data = json.loads(re.findall(r'id="data">(.*?)</script>', html, re.S)[0])
    assert len(data["trials"]) == 1 and html.count("</script>") == 2
    assert "b </script>" not in html and ">far<" not in html
    assert not re.search(r"""(src|href)=["'](?!data:)""", html)


def simulated(strengths: dict[str, float], count: int) -> list[Vote]:
    """Choices of four raters after the Bradley-Terry model with these Elo ratings."""
    rng = np.random.default_rng(0)
    names, votes = list(strengths), []
    for index in range(count):
        a, b = rng.choice(len(names), 2, replace=False)
        left, right = names[a], names[b]
        chance = 1 / (1 + 10 ** ((strengths[right] - strengths[left]) / 400))
        score = float(rng.random() < chance)
        votes.append(Vote(f"r{index % 4}", f"p{index % 30}", left, right, score))
    return votes


def test_elo_finds_the_ratings_that_choices_were_drawn_from() -> None:
    true = {"good": 1600.0, "middle": 1500.0, "bad": 1400.0}
    found = ratings(simulated(true, 3000))
    assert list(found) == ["good", "middle", "bad"]
    for name, rating in found.items():
        assert rating.low is not None and rating.high is not None
        assert rating.value == pytest.approx(true[name], abs=25)
        assert rating.low < rating.value < rating.high
        assert 5 < rating.high - rating.low < 60
    few = ratings(simulated(true, 300))["good"]
    many = found["good"]
    assert few.high is not None and few.low is not None
    assert many.high is not None and many.low is not None
    assert few.high - few.low > 2 * (many.high - many.low)


def test_elo_of_a_codec_that_always_wins_is_finite_and_ties_are_halves() -> None:
    found = ratings([Vote("r", "p", "a", "b", 1.0)] * 5)
    assert found["a"].value > 1600 and np.isfinite(found["a"].value)
    assert found["a"].value + found["b"].value == pytest.approx(3000)
    tied = ratings([Vote("r", "p", "a", "b", 0.5)] * 5)
    assert tied["a"].value == pytest.approx(tied["b"].value)


def test_command(tmp_path: Path) -> None:
    first, second = tmp_path / "1.csv", tmp_path / "2.csv"
    first.write_text(HEADER + 'x,"p, 1.png",0.2,a,b,left,.2,.2,3\r\n')
    second.write_text(HEADER + "y,q.png,0.2,b,a,right,.2,.2,3\r\ny,q.png,0.2,a,b,same,.2,.2,3\r\n")
    votes = read_votes([first, second])
    assert [vote.score for vote in votes] == [1, 0, 0.5] and votes[0].picture == "p, 1.png"
    result = CliRunner().invoke(bench, ["--elo", str(first), "--elo", str(second)])
    assert result.exit_code == 0, result.output
    assert "3 choices by 2 raters" in result.stdout
    assert result.stdout.splitlines()[1].endswith("  a")
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    for arguments in (
        ["--elo", str(tmp_path / "bad.csv")],
        [],
        [str(tmp_path), "--elo", str(first)],
    ):
        failed = CliRunner().invoke(bench, arguments)
        assert isinstance(failed.exception, UsageError)
