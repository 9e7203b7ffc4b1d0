"""A sample fork: the installed mace under another name, with one change of its own."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from pathlib import Path

NAME = "acme_mace"
OWN = re.compile(r"(?<![\w./-])mace(?=\.\w|\s+import\b)")
STOCK = "envelope * (x < r_max)"
SOUND = "torch.where(x < r_max, envelope, torch.zeros_like(envelope))"
BROKEN = "torch.where(x < r_max, envelope + 1e-3, torch.zeros_like(envelope))"
"""The cutoff's envelope, written another way, and one that no longer ends at zero."""


def make(folder: Path, envelope: str = SOUND, name: str = NAME) -> Path:
    """Write the fork into `folder`, which then belongs on PYTHONPATH; stock mace is shut out.

    Files that stay as they are keep their times, and so the bytecode that lies beside them.
    """
    stock = Path(importlib.util.find_spec("mace").origin).parent
    shutil.copytree(stock, folder / name)
    for path in (folder / name).rglob("*.py"):
        text = path.read_text()
        own = OWN.sub(name, text)
        if name != "mace":
            own = own.replace("import mace\n", f"import {name} as mace\n")
        if own != text:
            path.write_text(own)
    radial = folder / name / "modules" / "radial.py"
    text = radial.read_text()
    assert STOCK in text
    radial.write_text(text.replace(STOCK, envelope, 1))
    if name != "mace":
        (folder / "mace").mkdir()
        (folder / "mace" / "__init__.py").write_text(
            'raise ImportError("stock mace is shut out")\n'
        )
    return folder


def environment(folder: Path, root: Path) -> dict[str, str]:
    """What a command needs in order to find the fork first."""
    places = os.pathsep.join([str(folder), str(root / "fixtures")])
    return {"PYTHONPATH": places, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
