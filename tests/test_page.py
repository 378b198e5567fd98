"""The page of an experiment, on a small tree that the package's own writers made; also in Chromium.

With USERBENCH_SCREENSHOTS set to a folder, the pictures of the browser tests are kept there.
"""

import json
import os
import re
import shutil
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from experiments import figure_layout, figure_row, write_experiment
from scipy import stats

ROOT = Path(__file__).parent.parent
HOSTILE = """</script><script>alert(1)</script><img src=x onerror=alert(2)>"'&{{ 7*7 }}"""
RUNS = ("none", "adaptssr", "clue")
SCORES = {"none": [0.50, 0.60, 0.55], "adaptssr": [0.60, 0.72, 0.70], "clue": [0.52, 0.49, 0.55]}
CONFIG = "corpora:\n  ttl: {raw_env: USERBENCH_TTL}\n# <script>alert(3)</script>\n"


@pytest.fixture(scope="module")
def command():
    from userbench.report.page import command

    return command


def score_file(run: str, task: str, seed: int, metric: str, value: float) -> dict[str, Any]:
    """What `finetune` writes: two epochs, the second of which was chosen and tested."""
    epoch = {"pretrain_epoch": 2, "metric": metric}
    return {
        **{"run": run, "task": task, "corpus": "ttl", "seed": seed, "metric": metric, "width": 16},
        "kind": "binary" if metric == "auc" else "top_n",
        "examples": {"train": 600, "validation": 200, "test": 201},
        "best": {"pretrain_epoch": 2, "epoch": 2},
        "scores": [
            {**epoch, "epoch": 1, "split": "validation", "value": value - 0.02},
            {**epoch, "epoch": 2, "split": "validation", "value": value - 0.01},
            {**epoch, "epoch": 2, "split": "test", "value": value},
        ],
    }


def write_tree(
    name: str, label: str, seeds: int = 3, baselines: tuple[dict[str, Any], ...] = ()
) -> Path:
    """results/<name> below the working folder: three rows, two tasks; of this AdaptSSR label.

    `baselines` are what score files of simple baselines say of the first task beside the score.
    """
    from userbench.report.statistics import agreement
    from userbench.report.tables import table2
    from userbench.results import artifact, scores

    folder, files = Path("results", name), []
    for run in RUNS:
        for seed in range(seeds):
            checkpoint = folder / f"pretrain/{run}/ttl/seed{seed}/epoch2.safetensors"
            if run != "none":
                curve = [
                    {"epoch": e, "split": split, "step": 9 * e, "loss": 3.0 / e + seed / 9}
                    | ({"own_measure": 0.25 / e} if split == "validation" else {})
                    for e in (1, 2)
                    for split in ("train", "validation")
                ]
                artifact.write_json(checkpoint.with_name("curve.json"), curve)
                asked = {"method": run, "init": None, "seed": seed, "config": {"lr": 2e-4}}
                digest = f"{seed}" * 64
                artifact.record(checkpoint, asked, sha256=digest, epoch=2)
            for task, metric in (("gender", "auc"), ("click", "ndcg@10")):
                path = folder / f"finetune/{run}/{task}/seed{seed}.json"
                init = [str(checkpoint)] if run != "none" else None
                artifact.write_json(path, score_file(run, task, seed, metric, SCORES[run][seed]))
                asked = {"run": run, "init": init, "seed": seed, "task": {"name": task}}
                artifact.record(path, asked, task_seconds=1.5)
                files.append(str(path))
    for told in baselines:
        path = folder / f"finetune/{told['run']}/gender/seed0.json"
        content = score_file(told["run"], "gender", 0, "auc", 0.8) | told
        content["best"] = {"pretrain_epoch": 0, "epoch": 0}
        content["scores"] = [content["scores"][-1] | content["best"]]
        artifact.write_json(path, {key: content[key] for key in content if key != "width"})
        artifact.record(path, {"seed": 0})
        files.append(str(path))
    layout = {
        "caption_data": f"data of {label}",
        "simulated": True,
        "tasks": [
            {"task": "gender", "label": f"T5 {label}", "metric": "auc", "paper": "T5"},
            {"task": "click", "label": "T3 Click", "metric": "ndcg@10", "paper": "T3"},
        ],
        "rows": [
            {"run": "none", "label": "None", "paper": "None"},
            {"run": "adaptssr", "label": label, "paper": "AdaptSSR"},
            {"run": "clue", "label": "CLUE", "paper": "CLUE"},
        ],
        "baselines": [{"run": told["run"], "label": told["run"]} for told in baselines],
        "compared_with": "none",
        "notes": [f"a note on {label}"],
    }
    csv = folder / "scores.csv"
    drawn = figure_layout([figure_row("adaptssr", "adaptssr")], {"gender": ("T5 Gender", "auc")})
    told = write_experiment(folder, table2=layout, figures={"ablation": drawn})
    asked = ["--experiment", str(told)]
    scores.main(["--scores", *files, "--out", str(csv)])
    flags = [
        word
        for kind in ("csv", "md", "tex", "html")
        for word in (f"--{kind}", f"{folder}/table2.{kind}")
    ]
    table2.main(["--scores", str(csv), *asked, *flags])
    agreement.main(["--scores", str(csv), *asked, "--out", str(folder / "agreement.csv")])
    return folder


def add_results(folder: Path) -> None:
    """A verdict, a figure, and a benchmark of Snakemake's, as other rules would write them."""
    row = {"task": "T5", "run": "adaptssr", "method": "AdaptSSR", "verdict": "undecided"}
    row |= {"reason": HOSTILE, "mean": 67.3, "seeds_needed": 40, "gain_verdict": "undecided"}
    other = row | {"run": "clue", "method": "CLUE", "verdict": "not comparable"}
    other |= {"reason": "simulated data", "gain_reason": "simulated data"}
    other |= {"gain_verdict": "not comparable"}
    pd.DataFrame([row, other]).to_csv(folder / "verdict.csv", index=False)
    rows = {"run": ["none", "adaptssr", "clue"], "row": ["None", HOSTILE, "CLUE"]}
    against = {"baseline.run": ["", "none", "none"], "baseline.difference": [np.nan, 3.0, 2.0]}
    against |= {"baseline.p_table": [np.nan, 0.001, 0.2], "best_other.p_holm": 0.01}
    against["best_other.verdict"] = ["worse", "better", "undecided"]
    of_task = {"task": "gender", "label": "T5 Gender", "ranked": 1, "mean": 60.0, "note": ""}
    of_task |= {"data": "simulated", "seeds": 3}
    pd.DataFrame({**rows, **against, **of_task}).to_csv(folder / "statistics.csv", index=False)
    pd.DataFrame({"run": ["None"], "mean": [-0.5]}).to_csv(folder / "ablation.csv", index=False)
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="400" height="150">'
    (folder / "figure4.svg").write_text(f'{svg}<circle cx="90" cy="75" r="50"/></svg>')
    tsv = folder / "benchmarks/finetune/clue/ttl/seed0.tsv"
    tsv.parent.mkdir(parents=True)
    tsv.write_text("s\th:m:s\tmax_rss\tcpu_time\n1.5\t0:00:01\t812.5\t1.4\n")


def make(command, folder: Path) -> str:
    """The page of an experiment, by its command."""
    config = Path("config.yaml")
    config.write_text(CONFIG)
    out = folder / "report.html"
    command.main(["--folder", str(folder), "--config", str(config), "--out", str(out)])
    return out.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def reports(command, tmp_path_factory):
    """Two experiments side by side, the texts of one of them hostile: folder, and pages by name."""
    from userbench.results import artifact

    folder = tmp_path_factory.mktemp("reports")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # Why: each of a hundred records would ask git thrice.
        patch.setattr(artifact, "environment", cache(artifact.environment))
        texts = {}
        for name, label in (("first", HOSTILE), ("second", "AdaptSSR")):
            tree = write_tree(name, label)
            if name == "first":
                add_results(tree)
            texts[name] = make(command, tree)
    return folder, texts


class Parsed(HTMLParser):
    """Tags with their attributes, the ids of sections, and what stands in each <script>."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.sections, self.scripts, self.inside = [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "section":
            self.sections.append(dict(attributes)["id"])
        self.inside = tag == "script"
        if self.inside:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, text):
        if self.inside:
            self.scripts[-1] += text


def data_of(text: str) -> dict[str, Any]:
    """The JSON that a page holds."""
    return json.loads(re.search(r'<script type="application/json".*?>(.*?)</script>', text)[1])


# ------------------------------------------------------------------------------------- the file


def test_hostile_texts_are_inert(reports):
    # Wrong: a label of a config or a field of a CSV file that becomes an element or ends a script.
    parsed = Parsed(reports[1]["first"])
    assert len(parsed.scripts) == 3  # the data, the library, the page's own
    assert [tag for tag, _ in parsed.tags if tag == "img"] == ["img"]  # the figure
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    assert data_of(reports[1]["first"])["labels"]["adaptssr"] == HOSTILE
    assert "49" not in re.findall(r"<th scope=\"row\">(.*?)</th>", reports[1]["first"])[1]


def test_the_policy_allows_the_pages_own_scripts_and_no_request(reports):
    from userbench.report.page.render import script_hash

    parsed = Parsed(reports[1]["first"])
    (policy,) = (a["content"] for _, a in parsed.tags if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:;")
    hashes = re.findall(r"'sha256-(.*?)'", policy)
    assert hashes == [script_hash(script) for script in parsed.scripts[1:]]
    assert "unsafe-eval" not in policy
    addresses = [a[k] for _, a in parsed.tags for k in ("src", "href") if k in a]
    assert all(address.startswith(("data:", "#")) for address in addresses)


def test_sections_without_data_are_left_out(reports):
    table2 = ["table2", "agreement", "curves", "time", "environment"]
    assert Parsed(reports[1]["second"]).sections == table2
    more = [*table2[:1], "verdict", "statistics", "agreement", "ablation", *table2[2:]]
    assert Parsed(reports[1]["first"]).sections == more


def test_an_experiment_without_table2_has_a_page_of_what_is_there(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results/tune"
    folder.mkdir(parents=True)
    with pytest.raises(SystemExit, match="experiment.json: is not there. Make it with"):
        make(command, folder)
    write_experiment(folder)
    with pytest.raises(SystemExit, match="nothing to show. Make its tables first"):
        make(command, folder)
    assert not (folder / "report.html").exists()
    pd.DataFrame({"row": ["cl4srec"], "chosen": [1]}).to_csv(folder / "tuning.csv", index=False)
    assert Parsed(make(command, folder)).sections == ["tuning", "environment"]


def test_a_reference_that_repeats_another_one_is_no_row(command, tmp_path, monkeypatch):
    # Wrong: a row shows the figures of the one below it.
    monkeypatch.chdir(tmp_path)
    long = {"run": "bag-of-items-long", "same_as": "bag-of-items"}
    text = make(
        command, write_tree("third", "L", 1, ({"run": "bag-of-items"}, long, {"run": "top"}))
    )
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>', text[text.index("<tfoot>") :])
    assert rows[:2] == ["bag-of-items", "top"] and "bag-of-items-long" not in rows
    assert {"bag-of-items/gender", "top/gender"} < data_of(text)["cells"].keys()


def test_two_experiments_lie_side_by_side(reports):
    # Wrong: one experiment's page with another one's data.
    folder, texts = reports
    assert (folder / "results/first/report.html.provenance.json").exists()
    assert "results/second" not in texts["first"]
    assert "results/first" not in texts["second"]


def test_a_cell_tells_its_story(reports):
    cell = data_of(reports[1]["second"])["cells"]["adaptssr/gender"]
    values = 100 * np.array(SCORES["adaptssr"])
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert cell["mean"] == pytest.approx(values.mean(), abs=1e-4)
    assert cell["interval"] == f"{low:.2f} to {high:.2f}"
    assert cell["paper"] == "68.51±0.27" or re.fullmatch(r"\d+\.\d\d±\d\.\d\d", cell["paper"])
    assert [seed["seed"] for seed in cell["seeds"]] == [0, 1, 2]
    file = "results/second/finetune/adaptssr/gender/seed1.json"
    again = "snakemake --cores 1 --configfile config.yaml --forcerun"
    assert cell["seeds"][1]["again"] == f"{again} finetune_ttl -- {file}"
    assert cell["seeds"][1]["again_all"] == f"{again} pretrain finetune_ttl -- {file}"
    encoder = data_of(reports[1]["second"])["encoders"][cell["seeds"][1]["encoder"]]
    assert encoder["sha256"] == "1" * 64
    assert len(encoder["curve"]) == 4
    assert cell["seeds"][1]["environment"]["libraries"]["numpy"] == np.__version__
    verdicts = {
        key: cell.get("verdict") for key, cell in data_of(reports[1]["first"])["cells"].items()
    }
    assert verdicts.pop("adaptssr/gender") == "undecided"
    assert verdicts.pop("clue/gender") == "not comparable"
    assert set(verdicts.values()) == {None}


def test_a_verdict_that_compares_nothing_has_no_line(reports):
    # Wrong: sixty lines that say nothing, which the reader has to count.
    said = (
        "Here, values: 1 undecided; gains over None: 1 undecided. 1 value of the paper and 1 gain "
    )
    said += "over None are not compared: the data are simulated."
    assert f"<strong>{said}</strong>" in reports[1]["first"]
    section = reports[1]["first"].partition('<section id="verdict">')[2].partition("</section>")[0]
    assert section.count("<tr>") == 1 + 1
    assert "CLUE" not in section


def test_the_page_opens_with_what_the_table_says(reports):
    # Wrong: a reader has to find out for herself; or a label in a sentence becomes an element.
    first = reports[1]["first"].partition("<h1>Table 2</h1>")[2].lstrip()
    assert first.startswith('<ul class="headline"><li>All data are simulated: numbers')
    sentences = first.partition("</ul>")[0]
    assert "&lt;img src=x" in sentences and "is better than None beyond chance" in sentences
    assert "has rank 2 of 3 rows on T5 Gender" in sentences, sentences
    assert "Kendall" in sentences
    assert '<ul class="headline">' not in reports[1]["second"]  # nothing was tested there


def test_jobs_are_processes_and_long_pauses_are_left_out(reports):
    from userbench.report.page.jobs import Job, without_pauses

    data = data_of(reports[1]["first"])
    stages = pd.DataFrame(data["jobs"]).groupby("stage").size().to_dict()
    assert stages == {"pre-training": 6, "fine-tuning": 9}  # both tasks of a seed are one process
    (measured,) = {job["memory_mib"] for job in data["jobs"]} - {None}
    assert measured == 812.5
    jobs = [
        Job("data", "store", "ttl", (), 0.0, 60.0, None),
        Job("data", "splits", "ttl", (), 90.0, 120.0, None),
        Job("pre-training", "mlm", "ttl", (0,), 86400.0, 86460.0, None),
    ]
    assert [one["begin"] for one in without_pauses(jobs)] == [0.0, 1.5, 2.0]


def test_seeds_that_share_a_process_are_one_job(tmp_path):
    """Wrong: the minutes of a process counted once for each of its seeds, or its memory unread."""
    from userbench.report.page.jobs import cost_per_row, gather_jobs

    checkpoints = []
    for seed in (0, 1, 2):  # they end after 10, 20 and 30 minutes of the process
        checkpoint = tmp_path / f"pretrain/clue/ttl/seed{seed}/epoch2.safetensors"
        finished = f"2026-11-24T12:{10 * (seed + 1)}:00+0000"
        record = {"finished": finished, "wall_seconds": 600 * (seed + 1)}
        checkpoint.parent.mkdir(parents=True)
        checkpoint.with_name(f"{checkpoint.name}.provenance.json").write_text(
            json.dumps(record | {"process_seeds": [0, 1, 2]})
        )
        checkpoints.append(checkpoint)
    tsv = tmp_path / "benchmarks/pretrain/clue/ttl/seeds.tsv"
    tsv.parent.mkdir(parents=True)
    tsv.write_text("s\tmax_rss\n1800\t812.5\n")
    (job,) = gather_jobs(tmp_path, [], checkpoints)
    assert (job.seeds, job.end - job.start, job.memory_mib) == ((0, 1, 2), 1800, 812.5)
    (cost,) = cost_per_row([job], {"clue": "clue"}, {"clue": "CLUE"}).to_dict("records")
    assert (cost["seeds"], cost["pre-training, minutes"]) == (3, 10)


def test_numbers_of_a_column_share_their_decimals():
    from userbench.report.page.shown import numbers

    assert numbers(pd.Series([2.0, -1.25, np.nan])) == ["2.00", "−1.25", "–"]
    assert numbers(pd.Series([1200, 3])) == ["1,200", "3"]
    assert numbers(pd.Series([1 / 3, -0.00001])) == ["0.3333", "0.0000"]


def test_a_broken_file_is_one_clear_line(command, reports, tmp_path, monkeypatch):
    shutil.copytree(reports[0], tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    folder = Path("results/second")
    before = (folder / "report.html").read_bytes()
    (folder / "finetune/clue/click/seed0.json").write_text("{")
    with pytest.raises(
        SystemExit, match=r"clue/click/seed0.json: damaged: .* run the workflow again"
    ):
        make(command, folder)
    assert (folder / "report.html").read_bytes() == before


def test_the_same_results_give_the_same_page(command, reports, monkeypatch):
    monkeypatch.chdir(reports[0])
    assert command.page(Path("results/second"), [Path("config.yaml")]) == reports[1]["second"]


# ----------------------------------------------------------------------------------- in Chromium


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory) -> Path:
    """Where the pictures go."""
    kept = os.environ.get("USERBENCH_SCREENSHOTS")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desktop", "phone"])
def browser(request, tmp_path, reports):
    """Chromium with the page of the first experiment open; its logs are checked in the end."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium-driver)")
    width, height = request.param
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        *("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
        *("disable-background-networking", "disable-component-update", "disable-sync"),
        *(f"user-data-dir={tmp_path / 'profile'}", f"window-size={width},{height}"),
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        chrome.get((reports[0] / "results/first/report.html").as_uri())
        chrome.name_of_size = request.node.callspec.id
        yield chrome
        assert chrome.get_log("browser") == []
        # The latter two are the browser's own first tab, from itself.
        allowed = {"file", "data", "chrome", "chrome-untrusted"}
        assert {address.partition(":")[0] for address in requests(chrome)} <= allowed
    finally:
        chrome.quit()


def requests(chrome) -> list[str]:
    """Every address that was asked for since the last call."""
    events = (json.loads(entry["message"])["message"] for entry in chrome.get_log("performance"))
    asked = [
        e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"
    ]
    assert asked, "the log of requests is empty: it proves nothing"
    return asked


def one(chrome, selector: str):
    """The first element that fits."""
    return chrome.find_element("css selector", selector)


def wait_for(chrome, script: str) -> Any:
    """What a script returns, once that is true."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(chrome, 20).until(lambda c: c.execute_script(f"return {script}"))


def column(chrome, place: int) -> list[str]:
    """The texts of a column of Table 2, from the top."""
    rows = chrome.find_elements("css selector", "#table2 tbody tr")
    return [row.find_elements("css selector", "th, td")[place].text for row in rows]


@pytest.mark.slow
def test_sort_click_and_follow(browser, screenshots):
    """As a reader would, with the keyboard: sort, read a cell's story, enlarge a figure."""
    from selenium.webdriver.common.keys import Keys

    def kept(name: str) -> None:
        browser.save_screenshot(str(screenshots / f"{browser.name_of_size}-{name}.png"))

    # Nothing sticks out of the window; wide tables scroll in their boxes.
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    kept("top")
    # What is hostile is shown as it was written.
    assert HOSTILE in column(browser, 0)

    header = "#table2 thead th:nth-child(2)"
    assert column(browser, 0)[0] == "None"
    one(browser, f"{header} button").send_keys(Keys.ENTER)
    assert one(browser, header).get_attribute("aria-sort") == "descending"
    assert [text.split("±")[0] for text in column(browser, 1)] == ["67.33", "55.00", "52.00"]
    one(browser, f"{header} button").send_keys(Keys.SPACE)
    assert one(browser, header).get_attribute("aria-sort") == "ascending"
    assert [text.split("±")[0] for text in column(browser, 1)] == ["52.00", "55.00", "67.33"]
    assert one(browser, "#table2 .cell.best").text.startswith("67.33")
    kept("sorted")

    # Wrong: a table of sixty rows pushes all that follows pages down, or loses its header.
    assert browser.execute_script(
        """
        const box = document.querySelector("#verdict .box"), rows = box.querySelector("tbody");
        const top = (part) => part.getBoundingClientRect().top;
        for (let copies = 0; copies < 60; copies++) rows.append(rows.rows[0].cloneNode(true));
        box.scrollTop = 500;
        const well = box.scrollTop === 500 && Math.abs(top(box.querySelector("th")) - top(box)) < 3;
        while (rows.rows.length > 1) rows.lastChild.remove();
        return well;
        """
    )

    cell = one(browser, '[data-cell="adaptssr/gender"]')
    browser.execute_script("arguments[0].focus()", cell)
    assert "95% interval" in one(browser, "#tip").text
    assert "verdict: undecided" in one(browser, "#tip").text
    kept("interval")
    cell.send_keys(Keys.ENTER)
    wait_for(browser, "document.querySelectorAll('#story .vega svg').length === 2")
    told = one(browser, "#story").text
    for part in (
        *("95% interval", "Seed 0: 60.00", "Seed 2: 70.00", "sha256 " + "0" * 64, "AUC, test"),
        "snakemake --cores 1 --configfile config.yaml --forcerun finetune_ttl --",
        *("SIMULATED", "USERBENCH_TTL", "Resolved config of pre-training", "Machine"),
        "loss 3.000 → 1.500, own measure 0.250 → 0.125",  # of the method, on held-out users
    ):
        assert part in told
    kept("story")
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    wait_for(browser, "!document.querySelector('#story').open")
    assert browser.switch_to.active_element == cell  # the focus is back

    one(browser, 'nav a[href="#ablation"]').send_keys(Keys.ENTER)
    wait_for(
        browser, "Math.abs(document.querySelector('#ablation').getBoundingClientRect().top) < 300"
    )
    one(browser, "#ablation .picture").send_keys(Keys.ENTER)
    assert wait_for(browser, "document.querySelector('#large img').naturalWidth") == 400
    kept("figure")
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    wait_for(browser, "!document.querySelector('#large').open")

    # Two encoders, two tasks, and all jobs; a chart is drawn when its place comes into view.
    places = (("curves", "losses", 2), ("curves", "validation", 2), ("time", "jobs", 1))
    for section, place, drawn in places:
        one(browser, f'nav a[href="#{section}"]').send_keys(Keys.ENTER)
        box = one(browser, f'[data-charts="{place}"]')
        browser.execute_script("arguments[0].scrollIntoView({behavior: 'instant'})", box)
        charts = f"[data-charts={place}] .vega svg"
        wait_for(browser, f"document.querySelectorAll('{charts}').length === {drawn}")
        kept(place)


@pytest.mark.slow
def test_light_and_dark(browser, screenshots):
    """As the system says, and as the reader says; charts follow."""

    def background() -> str:
        return browser.execute_script("return getComputedStyle(document.body).backgroundColor")

    def labels(last: str = "") -> str:
        # Why: the page draws again some time after its colours changed, and may be seen before.
        label = "document.querySelector('#time .vega svg text')?.getAttribute('fill')"
        return wait_for(browser, f"{label} !== '{last}' && {label}")

    one(browser, 'nav a[href="#time"]').click()
    seen = {"light": (background(), labels())}
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    seen["dark"] = (background(), labels(seen["light"][1]))
    assert seen["light"][0] != seen["dark"][0]
    assert seen["light"][1] != seen["dark"][1]
    browser.save_screenshot(str(screenshots / f"{browser.name_of_size}-dark.png"))
    one(browser, "#theme").click()  # light, although the system is dark
    assert (background(), labels(seen["dark"][1])) == seen["light"]
