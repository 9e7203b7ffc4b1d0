"""The example tolerances.toml of the self-tests, edited, and cases for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mace_conformance.promises.tolerances import Tolerances, load

DATA = Path(__file__).parent / "data"
EXAMPLE = DATA / "tolerances_example.toml"
FORCES = "equivariance.forces"
SPEED = "latency.speed_up"
MEASURED = (
    'measured = { value = 3.1e-7, cases = 432, hardware = "hopper", '
    'run = "r-0007", on = 2026-11-20, seeds = 20 }'
)
ROW = f"""
[[limit]]
quantity = "equivariance.forces"
policy = ["fp32"]
backend = ["e3nn", "cueq"]
max = 2.0e-6
source = "measured"
{MEASURED}
"""

Edit = Callable[..., Tolerances]


@dataclass(frozen=True)
class Cell:
    """A planned case."""

    quantity: str = FORCES
    policy: str = "fp32"
    backend: str = "e3nn"
    hardware: str = "cpu"
    model: str = "small_l1"
    structure: str = "water64"
    execution: str = "eager"


def load_edited(folder: Path, old: str = "", new: str = "", more: str = "") -> Tolerances:
    """Load a copy of the example whose first `old` is `new`, with `more` at its end."""
    text = EXAMPLE.read_text(encoding="utf-8")
    assert old in text
    path = folder / "tolerances.toml"
    path.write_text(text.replace(old, new, 1) + more, encoding="utf-8")
    return load(path)
