"""The command from end to end, and its page in a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("bjontegaard")
pytest.importorskip("pytorch_msssim")

from vlaec.bench.codecs.pillow import Jpeg, WebP
from vlaec.bench.crops import busiest_crop
from vlaec.bench.search import match_rate
from vlaec.cli.bench import IncompleteError, bench
from vlaec.errors import UsageError

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "chromium-headless-shell"))),
    None,
)


def scene(seed: int, side: int = 176) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    waves = 120 + 70 * np.sin((x + y * seed) / 11)[..., None] * np.array([1, 0.7, -0.8])
    return np.clip(waves + rng.normal(0, 18, (side, side, 3)), 0, 255).astype(np.uint8)


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(bench, list(map(str, arguments)))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on three small pictures and one broken file."""
    folder = tmp_path_factory.mktemp("bench")
    pictures = folder / "pictures"
    pictures.mkdir()
    for seed in (1, 2, 3):
        Image.fromarray(scene(seed)).save(pictures / f"scene{seed}.png")
    (pictures / "broken.jpg").write_bytes(b"nothing")
    output = folder / "report"
    result = call(
        *(pictures, "-o", output, "--codecs", "jpeg,webp,png", "--metrics", "psnr,ms-ssim"),
        *("--levels", "jpeg=5,20,60", "--levels", "webp=1,30,80", "--anchor", "jpeg"),
        *("--rates", "0.8,1.5", "--pictures", "2"),
    )
    assert isinstance(result.exception, IncompleteError), result.output  # the broken one
    assert "broken.jpg" in result.stderr and "BD-rate against jpeg" in result.stdout
    return output


def test_files(report: Path) -> None:
    names = {path.relative_to(report).as_posix() for path in report.rglob("*")}
    assert {"index.html", "summary.md", "summary.json", "records.jsonl"} <= names
    assert {"plots/psnr.svg", "plots/ms-ssim.svg"} <= names
    assert {"results/jpeg.json", "results/webp.json", "results/png.json"} <= names
    rows = [json.loads(line) for line in (report / "records.jsonl").read_text().splitlines()]
    assert len(rows) == 3 * (3 + 3 + 1)
    result = json.loads((report / "results" / "jpeg.json").read_text())["results"]
    assert len(result["bpp"]) == len(result["psnr-rgb"]) == len(result["encoding_time"]) == 3
    markdown = (report / "summary.md").read_text()
    assert "broken.jpg" in markdown and "| png | " in markdown


def test_page_needs_nothing_else(report: Path) -> None:
    html = (report / "index.html").read_text()
    assert not re.search(r"""(src|href)=["'](?!data:)""", html)
    assert "http" not in re.sub(r'"data:[^"]*"', "", html)
    assert html.count("<svg viewBox") == 2 and "<polyline" in html
    assert "broken.jpg" in html and str(report.parent) not in html
    exhibits = json.loads(re.findall(r'id="data">(.*?)</script>', html, re.S)[0])
    assert [list(exhibit["shots"]) for exhibit in exhibits] == [["0.8", "1.5"]] * 2
    for exhibit in exhibits:
        for row in ("jpeg", "webp"):
            assert exhibit["shots"]["1.5"][row]["bpp"] == pytest.approx(1.5, rel=0.2)


def test_a_second_call_gives_the_same_files(report: Path) -> None:
    before = {path: path.read_bytes() for path in report.rglob("*") if path.is_file()}
    test_arguments = json.loads((report / "summary.json").read_text())
    assert test_arguments["anchor"] == "jpeg"
    result = call(
        *(report.parent / "pictures", "-o", report, "--codecs", "jpeg,webp,png"),
        *("--metrics", "psnr,ms-ssim", "--levels", "jpeg=5,20,60", "--levels", "webp=1,30,80"),
        *("--anchor", "jpeg", "--rates", "0.8,1.5", "--pictures", "2", "--json", "--keep-going"),
    )
    assert json.loads(result.stdout) == test_arguments
    after = {path: path.read_bytes() for path in report.rglob("*") if path.is_file()}
    assert [path for path in after if after[path] != before.get(path)] == []


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium to show the page")
def test_page_in_a_browser(report: Path, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    shot = tmp_path / "page.png"
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    page = (report / "index.html").as_uri()
    options = ["--window-size=1200,2600", "--virtual-time-budget=4000"]
    subprocess.run(
        [*command, *options, f"--screenshot={shot}", page],
        check=True,
        timeout=120,
        capture_output=True,
    )
    with Image.open(shot) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    colourful = (pixels.max(2) - pixels.min(2) > 60).mean(1)  # by row of the page
    assert colourful.max() > 0.5, "the viewer shows no picture"
    assert (colourful[:600] > 0.001).sum() > 100, "the curves are not drawn"

    done = subprocess.run(
        [*command, *options, "--dump-dom", page], check=True, timeout=120, capture_output=True
    )
    dom = done.stdout.decode()
    assert 'id="viewer" hidden' not in dom and 'id="viewer"' in dom
    assert len(re.findall(r'<img[^>]*src="data:image/', dom)) == 2 + 3  # stage and strip


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium to show the page")
@pytest.mark.parametrize("width", [360, 1280])
def test_page_fits_the_screen(report: Path, tmp_path: Path, width: int) -> None:
    assert CHROMIUM is not None
    # A frame of that width: the window of a headless browser is no narrower than 500 pixels.
    tell = "parent.postMessage(innerWidth + ' ' + document.documentElement.scrollWidth, '*')"
    html = (report / "index.html").read_text()
    ready = f"<script>addEventListener('load', () => {{ {tell} }})</script></body>"
    (tmp_path / "page.html").write_text(html.replace("</body>", ready))
    hear = "addEventListener('message', (e) => { document.title = e.data; })"
    frame = f'<iframe src="page.html" style="width:{width}px;height:800px;border:0"></iframe>'
    (tmp_path / "frame.html").write_text(f"<title></title><script>{hear}</script>{frame}")
    options = ["--window-size=1400,900", "--virtual-time-budget=4000", "--dump-dom"]
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", *options]
    address = (tmp_path / "frame.html").as_uri()
    done = subprocess.run([*command, address], check=True, timeout=120, capture_output=True)
    title = re.findall(r"<title>(\d+) (\d+)</title>", done.stdout.decode())
    assert title and int(title[0][0]) == width
    assert int(title[0][1]) <= width, "the page scrolls sideways"


def test_page_is_small_and_starts_with_the_result(report: Path) -> None:
    html = (report / "index.html").read_text()
    assert html.index('class="verdict"') < html.index('id="problems"') < html.index("<figure")
    assert "Against jpeg, files of webp are" in html
    assert len(html) < 1_000_000 and "touch-action: pan-y" in html


def test_codecs_are_matched_in_rate() -> None:
    image = scene(4)
    for codec in (Jpeg(), WebP()):
        _, data = match_rate(codec, image, 1.2)
        assert 8 * len(data) / 176**2 == pytest.approx(1.2, rel=0.15)
    level, _ = match_rate(Jpeg(), image, 100)
    assert level == Jpeg().limits[1]
    level, _ = match_rate(WebP(), image, 0.001)
    assert level == WebP().limits[0]


def test_the_crop_is_where_the_detail_is() -> None:
    image = np.full((300, 500, 3), 90, np.uint8)
    image[200:290, 350:480] = np.random.default_rng(0).integers(0, 255, (90, 130, 3))
    rows, columns = busiest_crop(image, 140, 100)
    assert rows.start <= 200 and rows.stop >= 290
    assert columns.start <= 350 and columns.stop >= 480
    assert busiest_crop(image[:50, :60], 140, 100) == (slice(0, 50), slice(0, 60))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--levels", "jpeg"], "CODEC=LEVEL"),
        (["--rates", "0"], "above 0"),
        (["--textures", "2"], "from 0 to 1"),
        (["--codecs", "gif"], "no codec 'gif'"),
        (["--codecs", "jpeg", "--levels", "webp=3"], "--levels webp"),
        (["--metrics", "beauty"], "no metric 'beauty'"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str, tmp_path: Path) -> None:
    Image.fromarray(scene(1, 16)).save(tmp_path / "a.png")
    result = call(tmp_path, "-o", tmp_path / "report", *arguments)
    assert result.exit_code != 0
    if isinstance(result.exception, UsageError):
        assert message in str(result.exception)
    else:
        assert message in result.stderr


def test_the_command_is_known_without_loading_torch() -> None:
    check = (
        "import sys, vlaec.cli.bench; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


def test_codecs_and_metrics_that_are_missing_are_said(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(scene(1, 48)).save(tmp_path / "in" / "a.png")
    result = call(
        *(tmp_path / "in", "-o", tmp_path / "out", "--codecs", "vlaec:absent,png"),
        *("--metrics", "psnr,lpips", "--weights", tmp_path, "--pictures", "0"),
    )
    assert isinstance(result.exception, IncompleteError)
    assert "metric lpips, codec vlaec:absent" in str(result.exception)
    assert "codec vlaec:absent" in result.stderr and "bin/get-weights" in result.stderr
    assert "codec vlaec:absent" in (tmp_path / "out" / "index.html").read_text()
