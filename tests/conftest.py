import os

# one thread by default, so that tests run in the same order of operations on any machine
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
settings.register_profile("repo", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("repo")


@pytest.fixture(scope="session")
def digits():
    from secateurs.data.datasets import load_dataset, split

    return split(load_dataset("digits"), 0.2, random_state=0)
