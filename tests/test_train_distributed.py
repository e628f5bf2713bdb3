"""Two processes on the CPU: the same script, one model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from training import RECIPE, make_trainer, silent, write_photos

from vlaec.train import log

STEPS = 6  # of which the last four are stage B


def torchrun(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script in two processes, one thread each."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join([root, str(Path(__file__).parent)])
    return subprocess.run(
        [*torchrun, "--nproc-per-node=2", "-m", "--", script, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )


def leave_weights(photos: str, run: str) -> None:
    """What each process of `test_both_processes_hold_the_same_weights` does."""
    dist.init_process_group("gloo")
    trainer = make_trainer(Path(photos), Path(run), STEPS)
    trainer.train(None, silent)
    tensors = {**trainer.model.state_dict(), **{f"ema.{k}": v for k, v in trainer.ema.items()}}
    torch.save((tensors, len(trainer.photos.sizes)), Path(run) / f"weights{trainer.rank}.pt")
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_gloo_available(), reason="torch without gloo")
def test_both_processes_hold_the_same_weights(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    photos = write_photos(tmp_path / "photos", count=6)
    out = torchrun("test_train_distributed", str(photos), str(tmp_path))
    assert out.returncode == 0, out.stderr
    (first, share), (second, other_share) = (
        torch.load(tmp_path / f"weights{rank}.pt") for rank in (0, 1)
    )
    assert (share, other_share) == (3, 2)  # one of six is held out
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    # Neither has trained on its own share alone.
    alone = make_trainer(photos, tmp_path / "alone", STEPS)
    alone.train(None, silent)
    assert not torch.equal(alone.model.to_mean.weight, first["to_mean.weight"])


@pytest.mark.skipif(not dist.is_gloo_available(), reason="torch without gloo")
def test_the_command_line_under_torchrun(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    write_photos(tmp_path / "photos", count=4)
    (tmp_path / "given.json").write_text(json.dumps(RECIPE.to_dict()))
    arguments = ["photo", "--device", "cpu", "--data", str(tmp_path / "photos")]
    arguments += ["--recipe", str(tmp_path / "given.json"), "--run", str(tmp_path / "run")]
    out = torchrun("vlaec.train", *arguments, "--steps", "3")
    assert out.returncode == 0, out.stderr
    assert out.stdout.count("finished") == 1
    assert [row["step"] for row in log.read(tmp_path / "run" / "log.jsonl")] == [3]
    assert len((tmp_path / "run" / "commands.txt").read_text().splitlines()) == 1


if __name__ == "__main__":
    leave_weights(*sys.argv[1:])
