import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from secateurs.experiments.report import page
from secateurs.experiments.report.page import encoded, render, run_content, write_report
from secateurs.experiments.sweeps.folder import RunFolderError
from tests.test_cli import run

SWEEP = """
problem = "planted_relu"
seeds = 2
metrics = ["psnr"]
[settings]
d = 5
m = 2
[grid]
n = [30, 40]
s = [2, 3, 4]
[methods.iht]
n_steps = 2
[methods.again]
method = "iht"
n_steps = 3
"""


@pytest.fixture(scope="module")
def sweep_run(tmp_path_factory):
    from secateurs.experiments.sweeps.config import parse_sweep
    from secateurs.experiments.sweeps.folder import open_run
    from secateurs.experiments.sweeps.ledger import Record, key_of
    from secateurs.experiments.sweeps.sweep import write_results

    folder = tmp_path_factory.mktemp("run") / "small.run"
    sweep = parse_sweep(SWEEP.replace('[methods.again]\nmethod = "iht"\nn_steps = 3\n', ""))
    with open_run(folder, {"sweep.toml": sweep.text}, resume=False) as (ledger, _):
        records = []
        for k, cell in enumerate(sweep.cells()):
            metrics = {"psnr": 10.0 + k, "exact": float(k % 2), "cpu_seconds": 0.5}
            record = Record(key_of(cell), "done", metrics)
            if k == 3:
                text = "ValueError: </script><img src=x onerror=alert(1)>"
                record = Record(key_of(cell), "failed", {}, 2, text)
            records.append((cell, record))
        ledger.add(records)
        write_results(sweep, ledger, folder)
    return folder


def test_numbers_and_texts_round_trip_by_column():
    frame = pd.DataFrame({"n": [1, 2, 2], "x": [0.123456789, None, 1e300], "t": ["a", None, "a"]})
    columns = encoded(frame)
    assert columns["n"] == {"numbers": [1, 2, 2]}
    assert columns["x"] == {"numbers": [0.123457, None, 1e300]}
    texts = columns["t"]
    assert [texts["values"][code] for code in texts["codes"]] == ["a", "", "a"]


def test_nothing_in_the_data_can_end_their_element(sweep_run):
    content = run_content(sweep_run)
    page = render(content | {"title": "<b>&"})
    assert "<img src=x" not in page
    assert "<b>&" not in page
    data = page.split('<script id="data" type="application/json">')[1].split("</script>")[0]
    assert json.loads(data)["columns"] == content["columns"]
    assert "ValueError: </script>" in json.loads(data)["columns"]["error"]["values"][-1]


def test_the_parts_of_the_page_name_nothing_elsewhere(sweep_run, tmp_path):
    path = tmp_path / "r.html"
    assert write_report(sweep_run, path) == path.stat().st_size
    for name in page._PARTS:
        part = (Path(page.__file__).parent / name).read_text()
        for asking in ("http:", "https:", "url(", "@import", "fetch(", "XMLHttpRequest"):
            assert asking not in part


def test_figures_too_large_for_the_page_are_named(sweep_run, tmp_path, monkeypatch):
    shutil.copytree(sweep_run, tmp_path / "run")
    for name in ("a", "b"):
        (tmp_path / "run" / f"{name}.png").write_bytes(bytes(100))
    monkeypatch.setattr(page, "MAX_FIGURE_BYTES", 150)
    first, second = run_content(tmp_path / "run")["figures"]
    assert (first["name"], second["name"], second["source"]) == ("a", "b", None)
    assert first["source"].startswith("data:image/png;base64,")


def test_what_is_no_run_is_refused_by_name(capsys, tmp_path, sweep_run):
    with pytest.raises(RunFolderError, match="holds no run"):
        write_report(tmp_path, tmp_path / "r.html")
    with pytest.raises(ValueError, match=r"must end in \.html"):
        write_report(sweep_run, tmp_path / "r.pdf")
    status, _, err = run(capsys, "report", tmp_path / "absent", "--output", tmp_path / "r.html")
    assert (status, len(err.splitlines())) == (2, 1)
    shutil.copytree(sweep_run, tmp_path / "copy")
    (tmp_path / "copy" / "sweep.toml").unlink()
    (tmp_path / "copy" / "claims.json").write_text("[]")
    with pytest.raises(RunFolderError, match=r"claims\.json"):
        write_report(tmp_path / "copy", tmp_path / "r.html")


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine; `make browser` installs it on Debian")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, sweep_run, tmp_path):
    """The page of the small run, with all it says and asks."""
    path = tmp_path / "r.html"
    write_report(sweep_run, path)
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.told, page.asked = [], []
    page.on("console", lambda message: page.told.append(message.text))
    page.on("pageerror", lambda error: page.told.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready=yes]")
    yield page
    quiet = [url for url in page.asked if not url.startswith(("data:", "blob:"))]
    page.close()
    assert page.told == []
    assert quiet == [path.as_uri()]


def test_the_chart_is_drawn_and_a_click_shows_the_records(opened):
    opened.wait_for_selector("#chart .heatmaplayer image")
    box = opened.locator("#chart .nsewdrag").bounding_box()
    opened.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.9)
    opened.wait_for_selector("#records tbody tr")
    assert "n = 30, s = 2" in opened.inner_text("#chosen")
    assert opened.locator("#records tbody tr").count() == 2


def test_the_chart_can_be_used_from_the_keyboard(opened):
    opened.focus("#chart")
    for key in ("ArrowRight", "ArrowUp", "ArrowUp", "Enter"):
        opened.keyboard.press(key)
    assert "n = 40, s = 4" in opened.inner_text("#chosen")
    assert opened.locator("#records tbody tr").count() == 2


def test_every_axis_and_metric_can_be_drawn(opened):
    for y in ("", "s"):
        opened.select_option("#select-y", y)
        for metric in ("psnr", "exact", "cpu_seconds"):
            opened.select_option("#select-metric", metric)
            assert opened.locator("#chart .main-svg").count() >= 1


def test_tables_sort_and_filter(opened):
    cells = opened.locator("#cells")
    cells.locator("th button", has_text="psnr").click()
    assert cells.locator("th", has_text="psnr").get_attribute("aria-sort") == "ascending"
    cells.locator("th button", has_text="psnr").click()
    names = cells.locator("th").all_inner_texts()
    assert cells.locator("tbody tr td").nth(names.index("psnr")).inner_text() == "21"
    cells.locator("input").fill("valueerror")
    assert cells.locator("tbody tr").count() == 1
    assert "onerror" in cells.locator("tbody tr").inner_text()  # as text, not as an element
    assert opened.locator("img[src=x]").count() == 0


def test_light_dark_and_phone(opened):
    ground = "getComputedStyle(document.body).backgroundColor"
    before = opened.evaluate(ground)
    opened.click("#theme")
    assert opened.evaluate(ground) != before
    opened.set_viewport_size({"width": 375, "height": 700})
    opened.wait_for_timeout(200)
    assert opened.evaluate("document.documentElement.scrollWidth") <= 375


@pytest.mark.slow
def test_a_hundred_thousand_cells_open_in_five_seconds(browser, sweep_run, tmp_path):
    content = run_content(sweep_run)
    columns = content["columns"]
    repeated = {
        name: {
            kind: entries * 8334 if kind in ("numbers", "codes") else entries
            for kind, entries in column.items()
        }
        for name, column in columns.items()
    }
    path = tmp_path / "large.html"
    path.write_text(render(content | {"columns": repeated}))
    page = browser.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready=yes]", timeout=5000)
    assert "100008" in page.inner_text("#cells .note")
