import numpy as np
import pytest

from secateurs.data.errors import DatasetError
from secateurs.sensing.measurements import load_measurements
from secateurs.sensing.operators.dense import pack


def symmetric(rng, n, d):
    A = rng.standard_normal((n, d, d))
    return A + A.transpose(0, 2, 1)


def test_every_kind_measures_the_matrix(tmp_path):
    rng = np.random.default_rng(0)
    d, n = 4, 30
    U = rng.standard_normal((2, d))
    M = U.T @ U
    A, X = symmetric(rng, n, d), rng.standard_normal((n, d))
    i, j = rng.integers(0, d, (2, n))
    paulis = {
        "I": np.eye(2),
        "X": [[0, 1], [1, 0]],
        "Y": [[0, -1j], [1j, 0]],
        "Z": [[1, 0], [0, -1]],
    }
    texts = ["".join(rng.choice(list("IXYZ"), 2)) for _ in range(n)]
    kron = [np.kron(paulis[a], paulis[b]) for a, b in texts]
    cases = {
        "full": ({"A": A}, [np.sum(a * M) for a in A]),
        "packed": ({"A": pack(A)}, [np.sum(a * M) for a in A]),
        "rank one": ({"X": X.astype(np.float32)}, np.einsum("ni,ij,nj->n", X, M, X)),
        "entries": ({"rows": i, "columns": j, "d": d}, M[i, j]),
        "paulis": ({"paulis": np.array(texts)}, [np.trace(P @ M).real for P in kron]),
    }
    for name, (arrays, expected) in cases.items():
        path = tmp_path / f"{name}.npz"
        np.savez(path, y=np.asarray(expected), **arrays)
        operator, y, _ = load_measurements(path)
        np.testing.assert_allclose(operator.forward_factors(U.astype(operator.dtype)), y, rtol=1e-5)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": np.zeros(3)}, "expected y and one of"),
        ({"A": np.zeros((3, 2, 2))}, "expected y and one of"),
        ({"y": np.zeros(3), "A": np.zeros((3, 2, 2)), "X": np.zeros((3, 2))}, "one of"),
        ({"y": np.zeros(3), "A": np.arange(12.0).reshape(3, 2, 2)}, "symmetric"),
        ({"y": np.zeros(3), "A": np.zeros((3, 4))}, "packed"),
        ({"y": np.zeros(2), "X": np.zeros((3, 2))}, "shape"),
        ({"y": np.zeros(3), "X": np.full((3, 2), np.nan)}, "NaN"),
        ({"y": np.zeros(3, complex), "X": np.ones((3, 2))}, "real"),
        ({"y": np.zeros(3), "rows": np.zeros(3, int)}, "no columns"),
        ({"y": np.zeros(3), "rows": [0, 1, 9], "columns": [0, 0, 0], "d": 3}, "expected 0 to 2"),
        ({"y": np.zeros(3), "rows": [0, 1, 2], "columns": [0, 0, 0], "d": 3.5}, "integer"),
        ({"y": np.zeros(2), "paulis": np.array(["XX", "XQ"])}, "letters"),
        ({"y": np.zeros(2), "paulis": np.array(["XX", "X"])}, "letters"),
        ({"y": np.zeros(2), "paulis": np.zeros(2)}, "texts"),
        ({"y": np.array([{}, {}], dtype=object), "X": np.ones((2, 2))}, "y"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, arrays, message):
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with pytest.raises(DatasetError, match=message) as error:
        load_measurements(path)
    assert "bad.npz" in str(error.value)


def test_damaged_and_missing_files_are_refused(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 nonsense")
    for name in ("x.npz", "absent.npz"):
        with pytest.raises(DatasetError, match=name):
            load_measurements(tmp_path / name)
