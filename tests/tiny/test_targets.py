"""The program in C on this machine under sanitizers, and on emulated microcontrollers."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from secateurs.tiny.footprint import code_bytes, ram_bytes
from secateurs.tiny.inputs import PixelInputs
from secateurs.tiny.integer_layer import IntegerLayer
from secateurs.tiny.integer_network import IntegerNetwork
from secateurs.tiny.outputs import ClassOutputs, NumberOutputs
from secateurs.tiny.pooling import Pooling
from tests.tiny.networks import random_layers, random_network, random_raw
from tests.tiny.test_integer_laws import KINDS

STRICT = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
HERE = Path(__file__).parent
HOST_ROWS, TARGET_ROWS = 10_000, 200


def needs(*programs):
    missing = [program for program in programs if shutil.which(program) is None]
    reason = f"{', '.join(missing)} not found; `make emulators` installs compilers and emulators"
    return pytest.mark.skipif(bool(missing), reason=reason)


def run(command, folder, errors=subprocess.PIPE, **options):
    """Standard output of a program, with its errors if these are to be joined to it."""
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=errors, check=False, **options
    )
    text = done.stdout if done.stderr is None else done.stderr
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{text.decode()[-3000:]}"
    return done.stdout


def harness(network, name, rows=None):
    """A program that reads raw rows, from standard input or from an array, and writes scores."""
    inputs, k = network.inputs, network.layers[-1].n_out
    table = hasattr(inputs, "parts")
    raw_t = "int32_t" if table else "uint8_t"
    sum_t = "int32_t" if max(network.worst_sums_) < 1 << 31 else "int64_t"
    stage = None if table else inputs.stage
    step = "encode" if table else getattr(stage, "name", "")
    direct = not table and stage is None
    encode = "" if direct else f"{name}_{step}(row, x);"
    x, kind = ("row" if direct else "x"), ("int8_t" if table else "uint8_t")
    numbers = isinstance(network.outputs, NumberOutputs)
    predict = f"{name}_predict({x}, y);" if numbers else f"y[0] = {name}_predict({x});"
    work = f"""
    static {kind} x[{max(inputs.n_features, 1)}]; {sum_t} scores[{k}]; int32_t y[{k}] = {{0}};
    int j; (void)x;
    {encode}
    {name}_scores({x}, scores);
    {predict}
    for (j = 0; j < {k}; j++) OUT(scores[j]);
    for (j = 0; j < {k}; j++) OUT(y[j]);
"""
    if rows is None:
        return f"""#include "{name}.h"
#include <stdio.h>
#define OUT(v) do {{ int64_t o = (v); fwrite(&o, 8, 1, stdout); }} while (0)
int main(void) {{
    static {raw_t} row[{inputs.n_raw}];
    while (fread(row, sizeof row, 1, stdin) == 1) {{ {work} }}
    return 0;
}}
"""
    body = ",".join("{" + ",".join(map(str, row)) + "}" for row in rows.tolist())
    return f"""#include "{name}.h"
#include "say.h"
#define OUT(v) say((int64_t)(v))
static const {raw_t} all[{len(rows)}][{inputs.n_raw}] STORED = {{{body}}};
int main(void) {{
    int i;
    say_init();
    for (i = 0; i < {len(rows)}; i++) {{
        {raw_t} row[{inputs.n_raw}]; LOAD(row, all[i]);
        {{ {work} }}
    }}
    say_end();
    return 0;
}}
"""


def expected(network, raw):
    """Scores and predictions of rows, as the harness writes them."""
    scores = network.raw_scores(raw)
    y = np.zeros_like(scores)
    if isinstance(network.outputs, NumberOutputs):
        y = network.outputs.units(scores)
    else:
        y[:, 0] = scores.argmax(axis=1)
    return np.hstack([scores, y])


def image_network():
    """A network as large as those for MNIST: images of 28 x 28, pooled, and 4,000 weights."""
    rng = np.random.default_rng(0)
    layers = random_layers(rng, (196, 100, 10), 4, 0.2, biases=False)
    pooled = PixelInputs(784, Pooling(28, 28, 2))
    labels = ClassOutputs(np.arange(10))
    return IntegerNetwork(layers, pooled, labels, random_raw(rng, pooled, 3))


def on_host(network, raw, folder, name="net", compiler="gcc", standard="-std=c99", level="-O2"):
    network.to_c(folder / f"{name}.c")
    kind = np.int32 if hasattr(network.inputs, "parts") else np.uint8
    (folder / "harness.c").write_text(harness(network, name))
    language = ["-x", "c++"] if compiler == "g++" else []
    files = ["harness.c", f"{name}.c"]
    run([compiler, standard, *language, *STRICT, *SANITIZERS, level, *files, "-o", "run"], folder)
    out = run(["./run"], folder, input=np.ascontiguousarray(raw.astype(kind)).tobytes())
    return np.frombuffer(out, dtype=np.int64).reshape(len(raw), -1)


def equal_on_host(network, seed, folder):
    raw = random_raw(np.random.default_rng(seed), network.inputs, HOST_ROWS)
    return np.array_equal(on_host(network, raw, folder), expected(network, raw))


@needs("gcc")
@pytest.mark.parametrize("seed", range(len(KINDS)))
def test_c_is_equal_under_sanitizers(seed, tmp_path):
    assert equal_on_host(random_network(seed, **KINDS[seed]), seed, tmp_path)


@needs("gcc")
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 160))
def test_c_is_equal_under_sanitizers_for_many_networks(seed, tmp_path):
    rng = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)] | {"bits": 2 + seed % 7, "density": float(rng.uniform(0.02, 1))}
    assert equal_on_host(random_network(seed, **kind), seed, tmp_path)


@needs("gcc")
@pytest.mark.slow
def test_c_is_equal_under_sanitizers_for_a_network_of_images(tmp_path):
    assert equal_on_host(image_network(), 0, tmp_path)


@needs("g++")
def test_cpp_is_equal_with_missing_values(tmp_path):
    network = random_network(7, table=True, d=12)
    raw = random_raw(np.random.default_rng(0), network.inputs, 500)
    filled = raw.copy()
    for j, source in enumerate(network.inputs.sources):
        if source.fill is not None:
            raw[::3, j], filled[::3, j] = -(2**31), source.fill
    found = on_host(network, raw, tmp_path, compiler="g++", standard="-std=c++11", level="-O3")
    assert np.array_equal(found, expected(network, filled))


@needs("gcc")
def test_two_exports_link_together_and_test_themselves(tmp_path):
    for name, seed, table in (("first", 0, False), ("second", 1, True)):
        network = random_network(seed, table=table)
        network.to_c(tmp_path / f"{name}.c")
        flag = f"-D{name.upper()}_TEST"
        labels = f"-D{name.upper()}_LABELS"
        files = [f"{name}.c", "-o", name]
        run(["gcc", "-std=c99", *STRICT, *SANITIZERS, flag, labels, *files], tmp_path)
        assert b"ok" in run([f"./{name}"], tmp_path)
    main = '#include "first.h"\n#include "second.h"\nint main(void) { return 0; }\n'
    (tmp_path / "main.c").write_text(main)
    run(["gcc", "-std=c99", *STRICT, "main.c", "first.c", "second.c", "-o", "both"], tmp_path)


@needs("gcc")
def test_of_equal_scores_the_first_wins_everywhere(tmp_path):
    rng = np.random.default_rng(0)
    first, last = random_layers(rng, (9, 6, 4), 4)
    codes = last.dense()[[0, 1, 0, 1, 0]]  # classes 0, 2 and 4 are equal, and 1 and 3
    equal = IntegerLayer.from_codes(codes, 4, last.shift, last.step)
    inputs, labels = PixelInputs(9), ClassOutputs(np.array(list("abcde")))
    raw = random_raw(rng, inputs, 1000)
    network = IntegerNetwork((first, equal), inputs, labels, raw[:3])
    assert set(network.predict(raw)) == {"a", "b"}
    assert np.array_equal(on_host(network, raw, tmp_path), expected(network, raw))
    network.to_numpy(tmp_path / "net.py")
    found = runpy.run_path(str(tmp_path / "net.py"))["predict"](raw)
    assert np.array_equal(found, network.predict(raw))


def test_the_same_network_gives_the_same_files(tmp_path):
    files = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        network = random_network(5, table=True)
        files.append([path.read_bytes() for path in network.to_c(tmp_path / folder / "net.c")])
    assert files[0] == files[1]


@pytest.mark.parametrize("name", ["int", "a b", "", "1st", "x-y", "a" * 50])
def test_a_name_that_is_none_in_c_is_refused(name):
    with pytest.raises(ValueError, match="name: got"):
        random_network(0).c_source(name)


def test_other_files_are_not_replaced(tmp_path):
    (tmp_path / "net.h").write_text("int mine;\n")
    with pytest.raises(ValueError, match="did not generate"):
        random_network(0).to_c(tmp_path / "net.c")
    assert not (tmp_path / "net.c").exists()
    with pytest.raises(ValueError, match=r"ends in \.c"):
        random_network(0).to_c(tmp_path / "net.txt")


def test_a_sketch_is_a_folder_with_three_files(tmp_path):
    for seed, kind in enumerate(KINDS[3:8]):
        files = random_network(seed, **kind).to_sketch(tmp_path / f"blink{seed}")
        names = sorted(path.name for path in files)
        assert names == [f"blink{seed}.ino", "net.c", "net.h"]
        text = files[0].read_text()
        assert '#include "net.h"' in text
        assert text.count("{") == text.count("}")
    with pytest.raises(ValueError, match="empty folder"):
        random_network(0).to_sketch(tmp_path / "blink0")


ARM = ["arm-none-eabi-gcc", "-mthumb", "-std=c99", *STRICT, "-Os"]
MACHINES = {"cortex-m0": "microbit", "cortex-m3": "mps2-an385"}
SMALL = [
    KINDS[0],
    {"table": True, "numbers": True, "k": 2},
    {"pool": 2},
    {"filters": True},
    KINDS[-1],
]


def put_program(network, folder, rows=TARGET_ROWS):
    """Write a program with its rows for an emulated machine; return what it has to say."""
    raw = random_raw(np.random.default_rng(0), network.inputs, rows)
    network.to_c(folder / "net.c")
    (folder / "main.c").write_text(harness(network, "net", raw))
    for file in ("say.h", "arm.ld", "arm_start.c"):
        shutil.copy(HERE / "emulated" / file, folder)
    return expected(network, raw)


def on_arm(network, cpu, folder):
    wanted = put_program(network, folder)
    run([*ARM, f"-mcpu={cpu}", "-c", "net.c", "-o", "net.o"], folder)
    run(["arm-none-eabi-gcc", "-mthumb", f"-mcpu={cpu}", "-Os", "-I.", "main.c",
         "arm_start.c", "net.o", "-nostartfiles", "-specs=nosys.specs", "-T", "arm.ld",
         "-o", "all.elf"], folder)  # fmt: skip
    out = run(["qemu-system-arm", "-M", MACHINES[cpu], "-nographic", "-semihosting-config",
               "enable=on,target=native", "-kernel", "all.elf"], folder,
              timeout=300, stdin=subprocess.DEVNULL, errors=subprocess.STDOUT)  # fmt: skip
    found = np.array(out.split(), dtype=np.int64).reshape(wanted.shape)
    return np.array_equal(found, wanted)


@needs("arm-none-eabi-gcc", "qemu-system-arm")
def test_c_is_equal_on_cortex_m(tmp_path):
    for seed, kind in enumerate(SMALL):
        cpu = list(MACHINES)[seed % 2]
        assert on_arm(random_network(seed, **kind), cpu, tmp_path)


@needs("arm-none-eabi-gcc", "qemu-system-arm")
@pytest.mark.slow
@pytest.mark.parametrize("cpu", MACHINES)
def test_c_is_equal_on_cortex_m_for_every_kind(cpu, tmp_path):
    for seed, kind in enumerate(KINDS):
        assert on_arm(random_network(50 + seed, **kind), cpu, tmp_path)
    assert on_arm(image_network(), cpu, tmp_path)


def on_avr(network, folder, rows=TARGET_ROWS):
    wanted = put_program(network, folder, rows)
    avr = ["avr-gcc", "-mmcu=atmega328p", "-std=gnu99", "-Os", "-I."]
    run([*avr, *STRICT, "-std=c99", "-c", "net.c", "-o", "net.o"], folder)
    run([*avr, "main.c", "net.o", "-o", "all.elf"], folder)
    command = ["simavr", "-m", "atmega328p", "-f", "16000000", "all.elf"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=300, check=False)
    text = (done.stdout + done.stderr).decode(errors="replace")
    found = np.array(re.findall(r"<(-?\d+)>", text), dtype=np.int64)
    return np.array_equal(found.reshape(wanted.shape), wanted)


@needs("avr-gcc", "simavr")
def test_c_is_equal_on_avr(tmp_path):
    for seed, kind in enumerate(SMALL[:-1]):  # the last has more sums than its memory holds
        assert on_avr(random_network(seed, **kind), tmp_path)


@needs("avr-gcc", "simavr")
@pytest.mark.slow
def test_c_is_equal_on_avr_for_every_kind(tmp_path):
    for seed, kind in enumerate(KINDS[:-1]):
        assert on_avr(random_network(50 + seed, **kind), tmp_path)


@needs("avr-gcc", "simavr")
@pytest.mark.slow
def test_positions_of_bits_beyond_16_bits_are_read_on_avr(tmp_path):
    network = random_network(0, d=180, hidden=(60,), k=5, bits=8, density=1.0, biases=False)
    assert 8 * len(network.stream_) > 1 << 16
    assert on_avr(network, tmp_path, rows=20)


@needs("arm-none-eabi-gcc")
@pytest.mark.parametrize("seeds", [range(6), pytest.param(range(6, 40), marks=pytest.mark.slow)])
def test_costs_are_those_of_the_compiler_and_never_less(seeds, tmp_path):
    for seed in seeds:
        rng = np.random.default_rng(seed)
        kind = {
            "table": seed % 2 == 0,
            "hidden": [(), (20,), (60,), (20, 8)][seed % 4],
            "numbers": seed % 3 == 0,
            "biases": seed % 5 < 3,
            "d": int(rng.integers(5, 90)),
            "bits": 2 + seed % 7,
            "pool": 2 if seed in (3, 7) else 1,
            "filters": seed % 4 == 1,
        }
        network = random_network(seed, **kind)
        network.to_c(tmp_path / "net.c")
        run([*ARM, "-mcpu=cortex-m0", "-fstack-usage", "-c", "net.c", "-o", "net.o"], tmp_path)
        link = ["-nostdlib", "net.o", "-lgcc", "-Wl,-e,net_predict", "-o", "net.elf"]
        run(["arm-none-eabi-gcc", "-mthumb", "-mcpu=cortex-m0", *link], tmp_path)
        sizes = run(["arm-none-eabi-size", "-A", "net.elf"], tmp_path).decode()
        found = re.findall(r"^\.(?:text|rodata)\s+(\d+)", sizes, re.MULTILINE)
        assert not re.search(r"^\.(?:data|bss)\s+[1-9]", sizes, re.MULTILINE)  # no global state
        code = sum(map(int, found)) - len(network.stream_)
        assert code <= code_bytes(network) <= code + 130, kind
        frames = re.findall(r":(\w+)\t(\d+)", (tmp_path / "net.su").read_text())
        used = network.inputs.n_features + sum(
            int(size)
            for name, size in frames
            if name not in ("net_pool", "net_encode", "net_filter")
        )
        assert used <= ram_bytes(network) <= used + 170, kind


def test_pooling_needs_sides_that_it_divides():
    for arguments in ((7, 8, 2), (8, 6, 4), (8, 8, 3)):
        with pytest.raises(ValueError, match="pool: got"):
            Pooling(*arguments)
