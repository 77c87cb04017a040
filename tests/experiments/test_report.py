import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from secateurs.core.certificate import Certificate, Check
from secateurs.experiments.report import page
from secateurs.experiments.report.page import encoded, render, run_content, write_report
from secateurs.experiments.sweeps.config import parse_sweep
from secateurs.experiments.sweeps.folder import RunFolderError, open_run
from secateurs.experiments.sweeps.ledger import Ledger
from secateurs.experiments.sweeps.record import Record, key_of
from secateurs.experiments.sweeps.sweep import write_results
from secateurs.experiments.sweeps.table import cell_table
from tests.cli.test_commands import run

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


def promised(k):
    """Checks of cell k: "few" holds up to k = 7, where exact is 0 for 0, 2, 4 and 6."""
    few = Check("few", f"{k} of 12; <b>8</b> asked", "holds" if k < 8 else "fails", k / 3, 8, "S")
    never = Check("isometry", "NP-hard", "unknown", None, None, "nobody (2013)")
    return Certificate((few, never)).to_list()


@pytest.fixture(scope="module")
def sweep_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "small.run"
    sweep = parse_sweep(SWEEP.replace('[methods.again]\nmethod = "iht"\nn_steps = 3\n', ""))
    with open_run(folder, {"sweep.toml": sweep.text}, resume=False) as (ledger, _):
        records = []
        for k, cell in enumerate(sweep.cells()):
            metrics = {"psnr": 10.0 + k, "exact": float(k % 2), "cpu_seconds": 0.5}
            record = Record(key_of(cell), "done", metrics, certificate=promised(k))
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
    assert "ValueError: </script>" in json.loads(data)["columns"]["failure"]["values"][-1]


def test_the_parts_of_the_page_name_nothing_elsewhere(sweep_run, tmp_path):
    path = tmp_path / "r.html"
    assert write_report(sweep_run, path) == path.stat().st_size
    for name in page.PARTS:
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


def test_certificates_are_counted_by_method_and_check(opened):
    assert opened.locator("nav a[href='#certificates']").count() == 1
    section = opened.locator("#certificates")
    assert "exact is a metric that sees the truth" in section.inner_text()
    heads = section.locator("th").all_inner_texts()
    assert heads[:6] == ["method", "check", "cells", "holds", "fails", "unknown"]
    assert heads[6:] == ["holds, exact = 0", "fails, exact = 1"]
    few, never = (row.split("\t") for row in section.locator("tbody tr").all_inner_texts())
    # cell 3 failed; of 0, 1, 2, 4, .., 7, where it holds, four have exact = 0
    assert few == ["iht", "few", "11", "7", "4", "0", "4", "2"]
    assert never == ["iht", "isometry", "11", "0", "0", "11", "0", "0"]
    section.locator("th button", has_text="fails", has_not_text="exact").click()
    assert section.locator("tbody tr").first.inner_text().startswith("iht\tisometry")
    section.locator("input").fill("few")
    assert section.locator("tbody tr").count() == 1


def test_a_place_shows_the_certificate_of_its_first_record(opened):
    opened.focus("#chart")
    opened.keyboard.press("Enter")
    opened.wait_for_selector("#certificate tbody tr")
    shown = opened.locator("#certificate")
    assert shown.locator("h3").inner_text() == "Certificate of iht, n = 30, s = 2, seed = 0"
    few, never = (row.split("\t") for row in shown.locator("tbody tr").all_inner_texts())
    assert few == ["few", "holds", "0", "8", "0 of 12; <b>8</b> asked", "S"]  # text, no element
    assert never == ["isometry", "unknown", "–", "–", "NP-hard", "nobody (2013)"]
    opened.locator("#records tbody button").nth(1).click()
    assert shown.locator("h3").inner_text() == "Certificate of iht, n = 30, s = 2, seed = 1"
    assert shown.locator("tbody tr").first.inner_text().split("\t")[4].startswith("6 of 12")
    # cell 3, at n = 40, s = 2 and seed 0, failed: the place shows that of seed 1
    opened.focus("#chart")
    for key in ("ArrowRight", "Enter"):
        opened.keyboard.press(key)
    assert opened.locator("#records tbody button").count() == 1
    assert shown.locator("h3").inner_text() == "Certificate of iht, n = 40, s = 2, seed = 1"


def test_the_table_of_cells_shows_any_certificate_and_filters_by_verdict(opened):
    cells = opened.locator("#cells")
    assert cells.locator("tbody button").count() == 11
    place = cells.locator("> .certificate")
    cells.locator("tbody button").last.click()
    assert place.locator("h3").count() == 1
    cells.locator("input").first.fill("fails")
    assert cells.locator("> .table tbody tr").count() == 4
    first = cells.locator("> .table tbody tr").first
    assert "0 hold, 1 fail, 1 unknown" in first.inner_text()
    first.locator("button").press("Enter")
    assert place.locator("td.fails").inner_text() == "fails"


def test_the_page_puts_every_certificate_together_again(opened, sweep_run):
    """As the ledger has it, sentences to the letter, numbers to six digits."""
    with Ledger(sweep_run / "ledger.sqlite") as ledger:
        keys = cell_table(ledger)["key"]
        known = {record.key: record.certificate or [] for _, record in ledger.records()}
    for row, key in enumerate(keys):
        shown = opened.evaluate(f"certificate({row})")
        for check, told in zip(known[key], shown, strict=True):
            assert told["check"] == check["name"]
            number = check["measured"]
            near = None if number is None else pytest.approx(number, rel=1e-5)
            assert told["measured"] == near
            for name in ("verdict", "threshold", "statement", "source"):
                assert told[name] == check[name]


def test_parts_of_claims_show_the_certificate_they_rest_on(browser, tmp_path):
    from secateurs.experiments.claims.reproduce import chosen, measure_part, part_cell

    folder, html = tmp_path / "claims.run", tmp_path / "r.html"
    ((paper, claim),) = chosen("recovery", "certificate")
    cells = [part_cell(paper, claim, claim.quick[k]) for k in (0, -1)]  # separated, twins
    statements = []
    with open_run(folder, {}, resume=False) as (ledger, _):
        for part in cells:
            found = measure_part(part)
            checks = found.certificate.to_list()
            statements.append(checks[0]["statement"])
            record = Record(key_of(part), "done", dict(found.metrics), certificate=checks)
            ledger.add([(part, record)])
    (folder / "claims.json").write_text('{"claims": []}')
    write_report(folder, html)
    tab = browser.new_page()
    told = []
    tab.on("console", lambda message: told.append(message.text))
    tab.on("pageerror", lambda error: told.append(str(error)))
    tab.goto(html.as_uri())
    tab.wait_for_selector("html[data-ready=yes]")
    rows = [row.split("\t") for row in tab.locator("#certificates tbody tr").all_inner_texts()]
    assert rows[0] == ["recovery: certificate", "separation", "2", "1", "1", "0"]
    tab.locator("#cells tbody button").first.click()
    assert "certificate, " in tab.inner_text("#cells .certificate h3")
    assert statements[0] in tab.inner_text("#cells .certificate")
    tab.close()
    assert told == []


def test_a_run_without_certificates_says_so_or_nothing(sweep_run, tmp_path):
    """One of an earlier version is told; where no method gives any there is no section."""
    sweep = parse_sweep(SWEEP)
    with open_run(tmp_path / "old.run", {"sweep.toml": sweep.text}, resume=False) as (ledger, _):
        ledger.add((c, Record(key_of(c), "done", {"psnr": 1.0})) for c in sweep.cells())
    content = run_content(tmp_path / "old.run")
    assert (content["verdicts"], content["uncertified"]) == ([], sweep.n_cells)
    assert run_content(sweep_run)["uncertified"] == 0


def test_light_dark_and_phone(opened):
    ground = "getComputedStyle(document.body).backgroundColor"
    before = opened.evaluate(ground)
    opened.click("#theme")
    assert opened.evaluate(ground) != before
    opened.set_viewport_size({"width": 375, "height": 700})
    opened.focus("#chart")
    opened.keyboard.press("Enter")
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
    certificates = content["certificates"]
    certificates["cells"] = [text for text in certificates["cells"] for _ in range(8334)]
    path.write_text(render(content | {"columns": repeated}))
    page = browser.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready=yes]", timeout=5000)
    assert "100008" in page.inner_text("#cells .note")
