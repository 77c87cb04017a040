import os
import shutil

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


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def browser():
    """Chromium, for the tests that look at pages."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine; `make browser` installs it on Debian")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()
