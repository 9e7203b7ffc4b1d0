"""Makes this folder anew: `python reports/example/make.py RUNS`, from the checkout's root.

RUNS holds one folder of records for each run below; one that is missing is run first, so that runs
of another machine can be copied there. Everything else in this folder is written from the records,
and the picture of the README by a Chromium, where one is on the path.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from mace_conformance.findings.compare import compare_runs
from mace_conformance.findings.compare_pages import write_pages
from mace_conformance.findings.files import write_findings
from mace_conformance.findings.records import RECORDS, Run, read_run
from mace_conformance.findings.summary import listed

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RUNS = {
    "gate": (),
    "smoke": ("--mace-plan", "smoke"),
    "smoke-planted": ("--mace-plan", "smoke", "--mace-inject", "linear-in-tf32"),
    "located": ("--mace-quantity", "backends.parity.*", "--mace-inject", "block-layout"),
}
TF32 = "in fp32 the inputs of linear layers are rounded as TF32 does"
LAYOUT = "one converted layer hands its features on in the other layout"
PAGES = {
    "report.html": ("gate", "report.html", "the gate"),
    "report.md": ("gate", "report.md", "the same for a pull request"),
    "badge.json": ("gate", "badge.json", "the same as a badge"),
    "failing.html": (
        "smoke-planted",
        "report.html",
        f"the smoke plan, planted fault: {TF32}",
    ),
    "located.html": ("located", "report.html", f"parity of backends, planted fault: {LAYOUT}"),
}
SCREEN = (1280, 900)


def main() -> None:
    """Run what is missing, then write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    folder = parser.parse_args().runs.absolute()
    for name, words in RUNS.items():
        if not (folder / name / RECORDS).exists():
            judge(folder / name, words)
    with tempfile.TemporaryDirectory() as text:
        plain = Path(text)
        for name in RUNS:
            shorten(folder / name, plain / name)
            write_findings(plain / name)
        runs = {name: read_run(plain / name)[0] for name in RUNS}
        for page, (name, file, _) in PAGES.items():
            shutil.copyfile(plain / name / file, HERE / page)
        compared = compare_runs(plain / "smoke", plain / "smoke-planted")
        write_pages(compared, HERE)
        (HERE / "README.md").write_text(readme(runs, plain), encoding="utf-8")
    photograph(HERE / "report.html", ROOT / "docs" / "images" / "report.png")


def judge(folder: Path, words: tuple[str, ...]) -> None:
    """One run, as a user starts it; with a fault planted it is meant to fail."""
    command = ["-m", "pytest", "suites/", "--benchmark-only", "-q", "--mace-device", "cpu"]
    subprocess.run(
        [sys.executable, *command, *words, "--mace-report", str(folder)],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip


def shorten(source: Path, into: Path) -> None:
    """Copy a run without the paths of its machine: of packages, of the checkout, of the report."""
    run = read_run(source)[0]
    package = run.target.get("path", "")
    words = run.command.split()
    report = words[words.index("--mace-report") + 1] if "--mace-report" in words else ""
    pairs = [(f" --mace-report {report}", ""), (package, "site-packages/mace"), (str(ROOT), ".")]
    into.mkdir()
    for path in (source / RECORDS, source / "run.json"):
        text = path.read_text(encoding="utf-8")
        for long, short in pairs:
            text = text.replace(long, short) if long.strip() else text
        (into / path.name).write_text(text, encoding="utf-8")


def readme(runs: dict[str, Run], folder: Path) -> str:
    """The page that says what lies here, its figures from the records."""
    rows = [
        f"| [{page}]({page}) | {what} | {told(runs[name], folder / name)} |"
        for page, (name, _, what) in PAGES.items()
    ]
    target, seed = runs["gate"].target, runs["gate"].seed
    return f"""# Example reports

Real runs of {target["name"]} {target["version"]} with seed {seed}, each on one thread of
{" and of ".join(sorted({machine(run) for run in runs.values()}))}.
Only the paths of the machine are shortened. `python reports/example/make.py RUNS` makes this folder
anew, and the picture in the main README.

| file | run | what it gave |
| --- | --- | --- |
{chr(10).join(rows)}
| [compare.html](compare.html), [compare.md](compare.md) | smoke without the fault, and with it | |

GitHub shows the source of HTML files; download them, or read the `.md` ones.
"""


def machine(run: Run) -> str:
    """Where a run was, in words."""
    facts = run.hardware
    stack = f"Python {facts.get('python')}, torch {facts.get('torch')}"
    return f"a {facts.get('cores')}-core {facts.get('name')} ({stack}), {run.started[:10]}"


def told(run: Run, folder: Path) -> str:
    """Counts and seconds of a run."""
    counts = listed(run.counts)
    return f"{len(read_run(folder)[1])} cases in {run.seconds:.0f} s, {counts}"


def photograph(page: Path, into: Path) -> None:
    """The first screen of a page as a picture."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.stderr.write("no Chromium on the path: the picture stays as it is\n")
        return
    size = ",".join(map(str, SCREEN))
    words = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={size}"]
    subprocess.run(
        [browser, *words, f"--screenshot={into}", page.as_uri()], check=True, capture_output=True
    )
    with Image.open(into) as picture:
        picture.quantize(64).save(into, optimize=True)


if __name__ == "__main__":
    main()
