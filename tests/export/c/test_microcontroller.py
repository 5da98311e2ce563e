"""The program on an emulated Cortex-M7, built by the page's own commands, prints the golden counts."""

import shutil
import subprocess

import microcontroller
import pytest

needed = [name for name in ("arm-none-eabi-gcc", "qemu-system-arm") if not shutil.which(name)]


@pytest.mark.slow
@pytest.mark.skipif(bool(needed), reason=f"no {' and no '.join(needed)}")
@pytest.mark.parametrize("name", ["csnn", "csnn_int8"])
def test_a_cortex_m7_counts_the_golden_spikes(small_bundle, tmp_path, name):
    shutil.copytree(small_bundle, tmp_path / "small")
    found = microcontroller.on_device(tmp_path, name)
    assert found["fits_board"] and found["counts_equal"] and found["images"] == 10
    assert all(1e4 < count < 1e8 for count in found["instructions"]), found["instructions"]
    assert found["network_flash"] < found["program_flash"] < 4e6
    assert found["program_flash"] == (tmp_path / "mcu/csnn.bin").stat().st_size  # .data behind the code, and no gap
    expected = tmp_path / "small/golden/c" / ("expected.txt" if name == "csnn" else "expected_int8.txt")
    expected.write_text(expected.read_text().replace("counts 0", "counts 1", 1))
    with pytest.raises(RuntimeError):
        microcontroller.on_device(tmp_path, name)


@pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="no arm-none-eabi-gcc")
@pytest.mark.parametrize("name", ["csnn.o", "csnn_int8.o"])
def test_what_a_device_has_to_link_is_what_the_page_says(small_bundle, tmp_path, name):
    """memset and memcpy, and without a floating-point unit some ten functions of libgcc."""

    def needed_by(*cpu: str) -> set[str]:
        settings = ["CC=arm-none-eabi-gcc", "PIC=", f"CFLAGS={' '.join(cpu)}", f"BUILD={tmp_path}"]
        subprocess.run(["make", "-s", "-C", small_bundle / "c", "-f", "Makefile", *settings, name], check=True)
        command = ["arm-none-eabi-nm", "-u", tmp_path / name]
        return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()) - {"U"}

    own = {"memset", "memcpy"}
    assert needed_by("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-d16", "-mfloat-abi=hard") <= own
    soft = needed_by("-mcpu=cortex-m0plus", "-mthumb") - own
    assert 8 <= len(soft) <= 12 and all(symbol.startswith("__aeabi_") for symbol in soft), soft
