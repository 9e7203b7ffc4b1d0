"""A known issue may excuse what a case raises before its law runs, and nothing else."""

import pytest
from user import conformance

ROW = """\
schema = 1

[[issue]]
id = "constants-do-not-respond"
quantity = "*"
raises = "{words}"
link = "https://example.org/7"
opened = 2026-11-01
expires = 2027-11-01
why = "a subject that is constant is refused while it is built"
"""


@pytest.mark.parametrize(
    ("words", "code", "verdicts"),
    [("does not respond", 0, {"known"}), ("does not convert", 1, {"error"})],
)
def test_what_a_fixture_raises_is_excused_by_its_words_alone(tmp_path, words, code, verdicts):
    own = tmp_path / "own.toml"
    own.write_text(ROW.format(words=words), encoding="utf-8")
    done = conformance(
        tmp_path / "run",
        *("--mace-target", "tests/targets.py:constants", "--mace-known-issues", str(own)),
        *("--mace-quantity", "equivariance.turns.forces"),
        suites="suites/equivariance",
    )
    assert {m.verdict for m in done.measurements} == verdicts, done.text[-2000:]
    assert done.code == done.run.exit_code == code
    assert (" error" in done.text.strip().splitlines()[-1]) == (code == 1)
