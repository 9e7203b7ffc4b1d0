"""In the suite's own tests a warning is an error; what libraries say of themselves is let pass."""

from pathlib import Path

import pytest

LIBRARIES = r"(torch|e3nn|mace|cuequivariance|ase|matscipy|scipy|ast|opt_einsum)(_\w+)?(\..*)?"


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("error"), append=False)
            item.add_marker(pytest.mark.filterwarnings(f"ignore:::{LIBRARIES}"))
