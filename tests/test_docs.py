"""The pages say what is true of the code."""

import re
import sys

from user import ROOT, shell

from mace_conformance.options import OPTIONS


def test_the_page_of_faults_is_what_the_command_prints(tmp_path):
    done = shell(tmp_path, sys.executable, "-m", "mace_conformance", "faults")
    assert done.code == 0
    assert done.text == (ROOT / "docs" / "faults.md").read_text()


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 150


def test_every_link_between_pages_resolves():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "reports").glob("*.md")]
    for page in pages:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_option_is_named_in_the_pages():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    text = "".join(page.read_text() for page in pages)
    assert [option.flag for option in OPTIONS if option.flag not in text] == []
