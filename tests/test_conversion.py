"""Conversions: what planted faults lose is counted, and input that cannot be converted says so."""

import pytest
import torch
from user import ROOT

from mace_conformance.errors import ConformanceError
from mace_conformance.instruments import conversion
from mace_conformance.promises import tolerances
from mace_conformance.subjects import mace_conversion, structures
from mace_conformance.subjects.building import copied
from mace_conformance.subjects.faults import conversions as faults
from mace_conformance.subjects.mace_target import MaceTarget
from mace_conformance.subjects.targets import Subject

STRUCTURE = structures.load("ethanol-boxed")
ROUNDING = 1e-14


@pytest.fixture(scope="module")
def pair():
    target = MaceTarget()
    names = ("residual", "Default", "fp64")
    return [Subject(target.potential(*names, way, "cpu"), way) for way in ("e3nn", "cueq")]


def faulty(fault, pair, size=None):
    """The converted subject as the fault makes it of a conversion that has been made."""
    source, converted = pair
    run = fault.around(lambda *_: copied(converted.module), fault.size if size is None else size)
    module = run(source.module)
    return Subject(converted.around(module), fault.name)


def test_a_good_conversion_loses_nothing(pair):
    source, converted = pair
    assert conversion.lost_on_return(converted, source).absolute == 0
    assert conversion.lost_facts(converted, source).absolute == 0
    assert conversion.skipped(converted, source).absolute == 0
    assert conversion.without_kernel(converted).absolute == 0
    assert conversion.changed_by_saving(converted, STRUCTURE).relative(1.0) < ROUNDING


@pytest.mark.parametrize(
    ("fault", "measure"),
    [
        (faults.reference_energies_lost, conversion.lost_facts),
        (faults.cutoff_rounded, conversion.lost_facts),
        (faults.weight_random, conversion.skipped),
        (faults.weights_in_bf16, conversion.skipped),
    ],
    ids=lambda thing: getattr(thing, "name", ""),
)
def test_what_a_fault_loses_is_counted(pair, fault, measure):
    assert measure(faulty(fault, pair), pair[0]).absolute >= 1


def test_a_block_of_e3nn_left_in_place_is_counted(pair):
    found = conversion.without_kernel(faulty(faults.block_left, pair))
    assert found.absolute == 1
    assert "readouts.0.linear" in found.where


@pytest.mark.parametrize("fault", [faults.heads_reversed, faults.second_shift_lost])
def test_faults_of_heads_are_counted_where_a_model_has_several(fault):
    source = MaceTarget().potential("density-heads2", "pbe", "fp64", "e3nn", "cpu").module
    broken = fault.around(copied, 1.0)(source)
    assert mace_conversion.differing_facts(broken, source)


def test_graded_faults_of_size_zero_are_none(pair):
    assert conversion.skipped(faulty(faults.weight_random, pair, 0.0), pair[0]).absolute == 0
    assert conversion.lost_facts(faulty(faults.cutoff_rounded, pair, 0.0), pair[0]).absolute == 0


def test_a_state_that_lacks_a_name_or_has_another_dtype_differs(pair):
    source = pair[0].module
    assert not mace_conversion.differing_state(source, copied(source))
    assert mace_conversion.differing_state(source, copied(source).float())
    assert mace_conversion.differing_state(source, torch.nn.Linear(1, 1))


def test_another_class_is_refused():
    with pytest.raises(ConformanceError, match=r"Linear cannot be converted.*ScaleShiftMACE"):
        mace_conversion.again(torch.nn.Linear(1, 1), "mace")


def test_mixed_dtypes_are_refused(pair):
    mixed = copied(pair[0].module)
    mixed.readouts.float()
    with pytest.raises(ConformanceError, match=r"several formats.*float32.*float64"):
        mace_conversion.again(mixed, "mace")


def test_mixed_devices_are_refused(pair):
    mixed = copied(pair[0].module)
    mixed.readouts[0].linear.weight = torch.nn.Parameter(
        torch.empty_like(mixed.readouts[0].linear.weight, device="meta")
    )
    with pytest.raises(ConformanceError, match=r"several devices.*cpu.*meta"):
        mace_conversion.again(mixed, "mace")


def test_a_converted_model_is_not_converted_again(pair, tmp_path):
    with pytest.raises(ConformanceError, match=r"converted already.*cuequivariance_torch"):
        mace_conversion.again(pair[1].module, "mace")
    torch.save(pair[1].module, tmp_path / "converted.model")
    with pytest.raises(ConformanceError, match=r"converted already"):
        MaceTarget().adopt(str(tmp_path / "converted.model"))


@pytest.mark.parametrize("model", ["mace-zbl", "energy-dipoles"])
def test_a_class_that_no_converter_knows_is_refused(model):
    with pytest.raises(ConformanceError, match=r"cannot be converted: Model is not a ScaleShift"):
        MaceTarget().potential(model, "Default", "fp64", "cueq", "cpu")


def test_every_fault_is_expected_by_a_quantity():
    known = tolerances.load(ROOT / "tolerances.toml").quantities
    for name in ("reference_energies_lost", "heads_reversed", "cutoff_rounded", "block_left"):
        assert set(getattr(faults, name).breaks) <= set(known)


def test_copies_keep_the_forward_that_mace_puts_on_a_fused_convolution():
    """On CUDA mace's convolution is cuEquivariance's polynomial with another forward."""
    import cuequivariance as cue
    import cuequivariance_torch as cuet
    from mace.modules import wrapper_ops

    irreps, edges = (cue.Irreps("O3", text) for text in ("4x0e+4x1o", "0e+1o"))
    product = cue.descriptors.channelwise_tensor_product(irreps, edges, irreps)
    polynomial = product.flatten_coefficient_modes().squeeze_modes().polynomial
    convolution = cuet.SegmentedPolynomial(polynomial, method="naive", math_dtype=torch.float64)
    convolution.m.buffer_num_segments = [polynomial.inputs[0].num_segments]
    convolution.m.operand_extent = 4
    box = torch.nn.Sequential(torch.nn.Linear(1, 1), wrapper_ops.with_cueq_conv_fusion(convolution))
    again = copied(box)[1]
    assert again.forward.__self__ is again
    assert vars(again).keys() == vars(convolution).keys()
    torch.manual_seed(0)
    edge_index = torch.randint(0, 5, (2, 9))
    nodes, attributes, weights = (
        torch.randn(*shape, dtype=torch.float64)
        for shape in ((5, 16), (9, 4), (9, convolution.weight_numel))
    )
    found, expected = (
        each(nodes, attributes, weights, edge_index) for each in (again, convolution)
    )
    assert torch.equal(found, expected)
