"""Which device a run is on: one GPU of many, a slice of one, another vendor's, without NVML."""

import ctypes
import sys
from types import MappingProxyType, SimpleNamespace

import pytest

from mace_conformance.errors import ConformanceError
from mace_conformance.promises.terms import HardwareClass
from mace_conformance.subjects import gpus
from mace_conformance.subjects.hardware import detect

CLASSES = {
    "cpu": HardwareClass(name="cpu", device="cpu"),
    "hopper": HardwareClass(name="hopper", device="cuda", capability="9.0"),
}
SLICE = " MIG 1g.10gb"


class NoNvml(Exception):
    pass


def nvml(names, slices=0, *, broken=False):
    """Stands for pynvml: GPUs of these names, with so many slices, each with a UUID."""

    def init(*_):
        if broken:
            raise NoNvml

    def capability(handle):
        if handle[1]:
            raise NoNvml
        return 9, 0

    get = {
        "Count": lambda: len(names),
        "HandleByIndex": lambda index: (index, ""),
        "HandleByUUID": lambda word: (int(word.split("-")[1]), SLICE * word.startswith("MIG")),
        "DeviceHandleFromMigDeviceHandle": lambda handle: (handle[0], ""),
        "MigMode": lambda _: (slices, slices),
        "MigDeviceHandleByIndex": lambda handle, _: (handle[0], SLICE),
        "Name": lambda handle: names[handle[0]] + handle[1],
        "CudaComputeCapability": capability,
        "MemoryInfo": lambda handle: SimpleNamespace(total=2 ** (33 if handle[1] else 36)),
    }
    return SimpleNamespace(
        NVMLError=NoNvml,
        nvmlInit=init,
        nvmlSystemGetDriverVersion=lambda: "580.1",
        **{f"nvmlDeviceGet{name}": call for name, call in get.items()},
    )


@pytest.fixture
def cuda(monkeypatch):
    """A torch that is built for CUDA, with two GPUs that NVML knows."""
    monkeypatch.setattr(gpus, "platform", lambda: "cuda")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setitem(sys.modules, "pynvml", nvml(["first", "second"]))
    return monkeypatch


@pytest.mark.parametrize(
    ("visible", "device", "name"),
    [
        (None, "auto", "first"),
        (None, "cuda:1", "second"),
        ("1", "cuda", "second"),
        ("1,0", "cuda:1", "first"),
        ("GPU-1-abc", "cuda", "second"),
    ],
)
def test_one_gpu_of_many_is_the_one_that_torch_sees(cuda, visible, device, name):
    if visible is not None:
        cuda.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = detect(device, CLASSES)
    assert (found.name, found.facts["name"]) == ("hopper", name)


@pytest.mark.parametrize("visible", ["", "-1", "0,-1,1"])
def test_a_hidden_gpu_is_none(cuda, visible):
    cuda.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(ConformanceError, match="no such device"):
        detect("cuda:1", CLASSES)


@pytest.mark.parametrize(("visible", "slices"), [("MIG-1-abc", 0), ("1", 1)])
def test_a_slice_of_a_gpu_says_that_it_is_one(cuda, visible, slices):
    cuda.setitem(sys.modules, "pynvml", nvml(["first", "second"], slices))
    cuda.setenv("CUDA_VISIBLE_DEVICES", visible)
    facts = detect("cuda", CLASSES).facts
    assert (facts["slice"], facts["name"]) == ("MIG", "second" + SLICE)
    assert (facts["capability"], facts["memory"]) == ("9.0", "8.0 GiB")


class Driver:
    """Stands for libcuda, with one GPU: each call writes its answer where it is told to."""

    ANSWERS = MappingProxyType(
        {
            "cuDeviceGetCount": 1,
            "cuDeviceTotalMem_v2": 2**36,
            "cuDriverGetVersion": 13000,
            "cuDeviceGetAttribute": {75: 9, 76: 0},
        }
    )

    def __getattr__(self, name):
        def call(place, *words):
            answer = self.ANSWERS.get(name)
            if name == "cuDeviceGetName":
                place.value = b"a GPU"
            elif answer is not None:
                number = answer[words[0]] if isinstance(answer, dict) else answer
                kind = ctypes.c_size_t if name == "cuDeviceTotalMem_v2" else ctypes.c_int
                ctypes.cast(place, ctypes.POINTER(kind))[0] = number
            return 0

        return call


@pytest.mark.parametrize("found", [None, nvml([], broken=True)], ids=["absent", "broken"])
def test_without_nvml_the_driver_is_asked(cuda, found):
    cuda.setitem(sys.modules, "pynvml", found)
    cuda.setattr(gpus.ctypes, "CDLL", lambda _: Driver())
    found = detect("auto", CLASSES)
    assert (found.name, found.facts["name"], found.facts["memory"]) == (
        "hopper",
        "a GPU",
        "64.0 GiB",
    )
    assert found.facts["driver"] == "of CUDA 13.0"
    with pytest.raises(ConformanceError, match="no such device"):
        detect("cuda:1", CLASSES)


def other(monkeypatch, platform, **modules):
    device = SimpleNamespace(name="a GPU", total_memory=2**36, gcnArchName="gfx942")
    found = SimpleNamespace(device_count=lambda: 1, get_device_properties=lambda _: device)
    monkeypatch.setattr(gpus, "platform", lambda: platform)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(**dict.fromkeys(modules, found)))


def test_a_rocm_device_is_of_no_class_and_says_what_it_is(monkeypatch):
    other(monkeypatch, "rocm", cuda=True)
    found = detect("auto", CLASSES)
    assert (found.name, found.device) == ("unknown", "cuda")
    assert (found.facts["platform"], found.facts["capability"]) == ("rocm", "gfx942")
    assert found.facts["cueq"] == "naive fallback"


def test_an_xpu_is_recognised_and_refused(monkeypatch):
    other(monkeypatch, "xpu", xpu=True)
    with pytest.raises(ConformanceError, match="a GPU is an XPU, on which no part"):
        detect("xpu", CLASSES)
    with pytest.raises(ConformanceError, match="built for xpu devices"):
        detect("cuda", CLASSES)
    assert detect("auto", CLASSES).facts["unused"] == "a GPU (xpu)"
