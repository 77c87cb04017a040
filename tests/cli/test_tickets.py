import json
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from secateurs import SparseMLPClassifier, load_dataset
from secateurs.core.archive import is_archive
from secateurs.tickets import effective_module, load_ticket, prune_network
from secateurs.tickets.certificate import network_certificate
from secateurs.tickets.neuron.certificate import required_width
from secateurs.tickets.read_onnx import read_onnx
from secateurs.tickets.read_state_dict import read_state
from secateurs.tickets.verify import verify_ticket
from tests.cli.test_commands import run

onnx = pytest.importorskip("onnx")
helper = onnx.helper
rng = np.random.default_rng(0)


def numbers(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def graph(path, nodes, constants, input_shape, output="y"):
    """Write a graph of (op, inputs, attributes); outputs are named t0, t1, ..., the last y."""
    made = []
    for i, (op, inputs, attributes) in enumerate(nodes):
        name = output if i == len(nodes) - 1 else f"t{i}"
        made.append(helper.make_node(op, inputs, [name], name=f"{op.lower()}_{i}", **attributes))
    content = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["a", "b"])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(content, opset_imports=opset, ir_version=9), path)
    return path


W, V, K = numbers(4, 6), numbers(4, 3), numbers(5, 2, 3, 3)
DENSE = (
    [
        ("Gemm", ["x", "W", "b"], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
        ("Relu", ["t0"], {}),
        ("MatMul", ["t1", "V"], {}),
        ("Add", ["c", "t2"], {}),
    ],
    {"W": W, "b": numbers(4), "V": V, "c": numbers(3)},
    ["n", 6],
)
MAPS = (
    [
        ("Conv", ["x", "K", "k"], {"pads": [1, 2, 1, 2], "strides": [1, 2], "dilations": [1, 2]}),
        ("Relu", ["t0"], {}),
        ("MaxPool", ["t1"], {"kernel_shape": [2, 2], "strides": [2, 1]}),
        ("AveragePool", ["t2"], {"kernel_shape": [2, 1]}),
        ("Flatten", ["t3"], {}),
        ("Gemm", ["t4", "U"], {"transB": 1}),
    ],
    {"K": K, "k": numbers(5), "U": numbers(2, 45)},
    ["n", 2, 8, 7],
)


def test_an_onnx_file_is_read_as_it_computes(tmp_path):
    for nodes, constants, shape in (DENSE, MAPS):
        path = graph(tmp_path / "m.onnx", nodes, constants, shape)
        module, input_shape = read_onnx(path)
        assert input_shape == tuple(shape[1:])
        x = numbers(7, *input_shape)
        (expected,) = onnx.reference.ReferenceEvaluator(str(path)).run(None, {"x": x})
        np.testing.assert_allclose(module(torch.from_numpy(x)).detach(), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("nodes", "constants", "shape", "message"),
    [
        ([("Softmax", ["x"], {})], {}, [1, 3], r"'y' \(Softmax\)|softmax_0"),
        ([("Add", ["x", "c"], {})], {"c": numbers(6)}, [1, 6], "add_0"),
        ([("Gemm", ["x", "x"], {})], {}, [6, 6], "gemm_0.*chain"),
        ([("Relu", ["x"], {}), ("Relu", ["x"], {})], {}, [1, 3], "relu_1.*chain"),
        ([("Gemm", ["x", "W"], {"transA": 1})], {"W": numbers(1, 6)}, [1, 6], "transposed"),
        ([("Conv", ["x", "K"], {"pads": [0, 0, 1, 1]})], {"K": K}, [1, 2, 8, 8], "conv_0.*side"),
        ([("Conv", ["x", "K"], {})], {"K": K}, [1, 2, "h", "w"], "fixed"),
        ([("Gemm", ["x", "W"], {"transB": 1})], {"W": W}, [1, 5], "fit together"),
        # rows of the batch are mixed: no layer does that
        (
            [("Reshape", ["x", "s"], {}), ("MatMul", ["t0", "V"], {})],
            {"s": np.array([-1, 4]), "V": V},
            ["n", 8],
            "fit together|not compute",
        ),
    ],
)
def test_other_graphs_are_refused_by_the_name_of_the_node(
    tmp_path, nodes, constants, shape, message
):
    path = graph(tmp_path / "m.onnx", nodes, constants, shape)
    with pytest.raises(ValueError, match=message):
        read_onnx(path)


def test_damaged_onnx_files_are_refused(tmp_path):
    path = graph(tmp_path / "m.onnx", *DENSE)
    content = path.read_bytes()
    for damaged in (b"", b"not a graph", content[: len(content) // 2], content[:-9]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"m\.onnx"):
            read_onnx(path)
    with pytest.raises(FileNotFoundError):
        read_onnx(tmp_path / "absent.onnx")


def test_weights_outside_the_directory_of_an_onnx_file_are_refused(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(96))
    (tmp_path / "models").mkdir()
    path = graph(tmp_path / "models" / "m.onnx", *DENSE)
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, "../secret", 0, 96)
    tensor.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match="not a readable ONNX file"):
        read_onnx(path)


def state(**extra):
    module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3, bias=False))
    return module, {**module.state_dict(), **extra}


def test_a_state_dict_is_read_in_the_order_of_its_numbers(tmp_path):
    torch.manual_seed(0)
    layers = [m for _ in range(6) for m in (nn.Linear(4, 4), nn.ReLU())]
    module = nn.Sequential(*layers[:-1])  # 10. comes after 2., not before
    named = {f"net.{name}": value for name, value in module.state_dict().items()}
    safetensors.torch.save_file(named, tmp_path / "m.safetensors")
    found = read_state(tmp_path / "m.safetensors")
    x = torch.randn(5, 4)
    torch.testing.assert_close(found(x.double()), module(x).double(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "extra",
    [
        {"fc.weight": torch.zeros(2, 2)},
        {"1.running_mean": torch.zeros(5)},
        {"4.weight": torch.zeros(2, 3, 1, 1)},
        {"4.weight": torch.zeros(2, 4)},
        {"2.bias": torch.zeros(4)},
        {"6.bias": torch.zeros(4)},
        {"a.4.weight": torch.zeros(2, 3)},
        {"4.weight": torch.zeros(2, 3, dtype=torch.int64)},
        {"4.weight": torch.zeros(0, 3)},
    ],
    ids=lambda extra: next(iter(extra)),
)
def test_other_tensors_are_refused(tmp_path, extra):
    safetensors.torch.save_file(state(**extra)[1], tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match=r"m\.safetensors: (got tensor|layer)"):
        read_state(tmp_path / "m.safetensors")


def test_ticket_of_an_onnx_file_is_the_network(capsys, tmp_path):
    source = graph(tmp_path / "m.onnx", *DENSE)
    target, _ = read_onnx(source)
    output = tmp_path / "t.safetensors"
    status, out, err = run(capsys, "ticket", source, "--eps", 1e-4, "--output", output)
    assert (status, err) == (0, "")
    assert "converged" in out
    found = effective_module(load_ticket(output))
    x = torch.randn(50, 6)
    x /= x.norm(dim=1, keepdim=True)
    status, out, _ = run(capsys, "ticket", source, "--eps", 1e-4, "--json")
    record = json.loads(out)
    with torch.no_grad():
        moved = float((found(x) - target(x)).norm(dim=1).max())
    assert moved <= record["error_bound"] + 1e-6
    assert record["max_error"] <= 1e-4
    assert record["n_weights"] == sum(layer["weights"] for layer in record["layers"]) == 43
    assert record["file_bytes"] == output.stat().st_size
    assert [c["verdict"] for c in record["certificate"]] == ["holds", "holds", "unknown"]


def test_ticket_of_maps_and_its_inspection(capsys, tmp_path):
    source, output = graph(tmp_path / "m.onnx", *MAPS), tmp_path / "t.safetensors"
    status, out, _ = run(
        *(capsys, "ticket", source, "--eps", 0.01, "--nonnegative", "--radius", 3),
        *("--output", output),
    )
    assert status == 0
    assert "5 x 2 x 3 x 3 + bias" in out
    assert "with no negative entry" in " ".join(out.split())
    status, out, _ = run(capsys, "inspect", output, "--json")
    record = json.loads(out)
    assert (status, record["kind"], record["seed"]) == (0, "ticket", 0)
    assert [layer["weights"] for layer in record["layers"]] == [95, 90]
    largest = [float(p.detach().abs().max()) for p in read_onnx(source)[0].parameters()]
    assert [s for layer in record["layers"] for s in layer["scales"].values()] == largest
    assert "2 x 45" in run(capsys, "inspect", output)[1]
    assert "ticket already" in run(capsys, "ticket", output)[2]


def test_ticket_of_a_state_dict_says_what_it_assumes(capsys, tmp_path):
    _, tensors = state()
    safetensors.torch.save_file(tensors, tmp_path / "m.safetensors")
    status, out, _ = run(capsys, "ticket", tmp_path / "m.safetensors", "--json")
    assert status == 0
    assert "ReLU was assumed" in json.loads(out)["note"]


def test_ticket_of_a_fitted_model(capsys, tmp_path):
    data = load_dataset("wine")
    model = SparseMLPClassifier(20, max_epochs=3, random_state=0).fit(data.X, data.y)
    path = tmp_path / "m.safetensors"
    model.save(path)
    assert is_archive(path)
    status, out, _ = run(capsys, "ticket", path, "--json")
    record = json.loads(out)
    linear = [m for m in model.to_torch() if isinstance(m, nn.Linear)]
    assert status == 0
    assert record["n_weights"] == sum(m.weight.numel() + m.bias.numel() for m in linear)


def test_a_weight_outside_is_said(capsys, tmp_path):
    module = nn.Linear(2, 1)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, 1 / 3]]))
    safetensors.torch.save_file(nn.Sequential(module).state_dict(), tmp_path / "m.safetensors")
    source = tmp_path / "m.safetensors"
    status, out, _ = run(capsys, "ticket", source, "--eps", "2e-15", "--json")
    record = json.loads(out)
    assert (status, record["status"]) == (0, "budget")
    assert record["certificate"][0]["verdict"] == "fails"
    solution = prune_network(module, 1e-3, 0, max_terms=1)
    certificate = network_certificate(verify_ticket(solution.value, module), 1e-3)
    assert certificate["weights"].verdict == "fails"
    assert certificate["weights"].measured == solution.measured["max_error"] > 1e-3


def test_the_model_is_not_overwritten(capsys, tmp_path):
    path = tmp_path / "m.safetensors"
    safetensors.torch.save_file(state()[1], path)
    before = path.read_bytes()
    status, out, err = run(capsys, "ticket", path, "--output", tmp_path / "." / path.name)
    assert (status, out) == (2, "")
    assert "got an input of the same command" in err
    assert path.read_bytes() == before


def test_weights_that_are_not_finite_are_refused_with_the_file(capsys, tmp_path):
    path = tmp_path / "m.safetensors"
    safetensors.torch.save_file({"0.weight": torch.tensor([[1.0, np.nan]])}, path)
    status, _, err = run(capsys, "ticket", path)
    assert status == 2
    assert "m.safetensors: layer 0: " in err


@pytest.mark.parametrize("call", [1, 2])
def test_ctrl_c_ends_a_ticket_while_it_compiles_too(capsys, tmp_path, monkeypatch, call):
    path, output = tmp_path / "m.safetensors", tmp_path / "t.safetensors"
    safetensors.torch.save_file(state()[1], path)
    calls = []

    def interrupted(*arguments, **settings):
        calls.append(arguments)
        found = prune_network(*arguments, **settings)
        return replace(found, status="interrupted") if len(calls) == call else found

    monkeypatch.setattr("secateurs.cli.tickets.prune_network", interrupted)
    status, _, err = run(capsys, "ticket", path, "--output", output)
    assert (status, len(calls)) == (130, call)
    assert output.exists() == (call == 2)  # what was found is kept
    assert err == ("secateurs: interrupted\n" if call == 1 else "")


def test_bounds_are_those_of_the_library(capsys):
    status, out, err = run(
        capsys, "bounds", "tickets", "--d", 4, "--eps", 0.05, "--delta", 0.2, "--json"
    )
    assert (status, err) == (0, "")
    for row in json.loads(out)["widths"]:
        expected = required_width(4, 0.05, 0.2, row["mode"], row["form"])
        assert row["necessary"] == expected.necessary
        assert row["sufficient"] == expected.sufficient
    shown = run(capsys, "bounds", "tickets", "--d", 20, "--eps", 0.05)[1]
    assert "unknown" in shown
    assert "proven" in shown
    assert "uniformly from the sphere" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ticket", "m.pt"), "pickle"),
        (("ticket", "absent.onnx"), "absent.onnx"),
        (("ticket", "absent.safetensors"), "absent.safetensors"),
        (("ticket", "absent.safetensors", "--eps", "0"), "--eps"),
        (("ticket", "absent.safetensors", "--eps", "1"), "< 1"),
        (("ticket", "absent.safetensors", "--radius", "nan"), "--radius"),
        (("ticket", "absent.safetensors", "--seed", "-1"), "--seed"),
        (("ticket", "absent.safetensors", "--output", "no/such/t"), "directory"),
        (("bounds", "tickets", "--d", "1", "--eps", "0.1"), "d: got 1"),
        (("bounds", "tickets", "--d", "4", "--eps", "0.7"), "eps"),
        (("bounds", "tickets", "--d", "4", "--eps", "0.1", "--delta", "1"), "delta"),
        (("bounds", "magic"), "magic"),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_line(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
