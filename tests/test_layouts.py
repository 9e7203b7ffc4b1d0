"""The layout adapter on any irreps, and what it says to bad input."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mace_conformance.errors import ConformanceError
from mace_conformance.instruments.layouts import mul_ir
from mace_conformance.subjects.layout_adapter import LayoutAdapter
from mace_conformance.subjects.outputs import Features

TERM = st.builds("{}x{}{}".format, st.integers(1, 5), st.integers(0, 4), st.sampled_from("eo"))
IRREPS = st.lists(TERM, min_size=1, max_size=5).map("+".join)
SCALARS = st.lists(st.builds("{}x0{}".format, st.integers(1, 9), st.sampled_from("eo")),
                   min_size=1, max_size=4).map("+".join)  # fmt: skip
SINGLES = st.lists(st.builds("1x{}{}".format, st.integers(0, 4), st.sampled_from("eo")),
                   min_size=1, max_size=4).map("+".join)  # fmt: skip
quick = settings(max_examples=40, deadline=None)


def both(irreps):
    return LayoutAdapter(irreps, "mul_ir", "ir_mul"), LayoutAdapter(irreps, "ir_mul", "mul_ir")


def drawn(adapter, seed, rows=3):
    values = np.random.default_rng(seed).standard_normal((rows, adapter.width))
    return torch.from_numpy(values)


@quick
@given(IRREPS, st.integers(0, 1000))
def test_there_and_back_is_exact(irreps, seed):
    there, back = both(irreps)
    x = drawn(there, seed)
    assert torch.equal(back(there(x)), x)
    assert torch.equal(there(back(x)), x)


@quick
@given(IRREPS, st.integers(0, 1000))
def test_it_agrees_with_numpy(irreps, seed):
    _, back = both(irreps)
    x = drawn(back, seed)
    np.testing.assert_array_equal(back(x), mul_ir(Features("block", x.numpy(), irreps, "ir_mul")))


@quick
@given(st.one_of(SCALARS, SINGLES), st.integers(0, 1000))
def test_where_nothing_moves_the_input_itself_comes_back(irreps, seed):
    for adapter in both(irreps):
        x = drawn(adapter, seed)
        assert adapter(x) is x


@settings(max_examples=8, deadline=None)
@given(IRREPS, st.integers(0, 1000))
def test_it_differentiates_twice(irreps, seed):
    there, _ = both(irreps)
    x = drawn(there, seed, rows=1)[:, :8]
    pad = torch.zeros(1, there.width - x.shape[1], dtype=x.dtype)
    x.requires_grad_()
    assert torch.autograd.gradgradcheck(lambda part: there(torch.cat([part, pad], 1)) ** 3, (x,))


@settings(max_examples=8, deadline=None)
@given(IRREPS, st.integers(0, 1000))
def test_scripted_it_gives_the_same_bits(irreps, seed):
    for adapter in both(irreps):
        x = drawn(adapter, seed)
        assert torch.equal(torch.jit.script(adapter)(x), adapter(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_dtype_and_any_leading_axes_are_permuted(dtype):
    there, back = both("2x0e+3x1o")
    x = torch.randn(4, 2, 11).to(dtype)
    assert there(x).dtype == dtype
    assert torch.equal(back(there(x)), x)


def test_a_state_dict_does_not_know_of_it():
    assert not LayoutAdapter("8x0e+8x1o", "mul_ir", "ir_mul").state_dict()


def test_e3nn_irreps_are_taken_as_they_are():
    class Irreps:
        def __repr__(self):
            return "8x0e+8x1o"

    assert LayoutAdapter(Irreps(), "mul_ir", "ir_mul").width == 32


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("8x0e+8y1o", "mul_ir", "ir_mul"), "'8y1o' is not of the form 8x1o"),
        (("", "mul_ir", "ir_mul"), "is not of the form 8x1o"),
        (("8x0e", "mul_ir", "rows"), "unknown layout 'rows': known are mul_ir and ir_mul"),
        (("8x0e", "rows", "mul_ir"), "unknown layout 'rows'"),
    ],
)
def test_bad_words_are_refused_in_one_sentence(words, said):
    with pytest.raises(ConformanceError) as refusal:
        LayoutAdapter(*words)
    assert said in str(refusal.value)


@pytest.mark.parametrize("shape", [(3, 7), (7,), ()])
def test_a_wrong_width_is_refused(shape):
    with pytest.raises(ValueError, match="which is 32 wide"):
        LayoutAdapter("8x0e+8x1o", "mul_ir", "ir_mul")(torch.zeros(shape))
