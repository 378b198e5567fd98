"""The page of an experiment, on a small tree that the package's own writers made; also in Chromium.

With USERBENCH_SCREENSHOTS set to a folder, the pictures of the browser tests are kept there.
"""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from experiment_tree import HOSTILE, SCORES, make_page, write_tree
from experiments import write_experiment
from scipy import stats


class Parsed(HTMLParser):
    """Tags with their attributes, the ids of sections, and the text of each <script>."""

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
        make_page(command, folder)
    write_experiment(folder)
    with pytest.raises(SystemExit, match="nothing to show. Make its tables first"):
        make_page(command, folder)
    assert not (folder / "report.html").exists()
    pd.DataFrame({"row": ["cl4srec"], "chosen": [1]}).to_csv(folder / "tuning.csv", index=False)
    assert Parsed(make_page(command, folder)).sections == ["tuning", "environment"]


def test_a_baseline_that_repeats_another_one_is_no_row_of_the_page(command, tmp_path, monkeypatch):
    # Wrong: a row shows the values of the one below it.
    monkeypatch.chdir(tmp_path)
    long = {"run": "bag-of-items-long", "same_as": "bag-of-items"}
    text = make_page(
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


def test_a_cell_has_its_details(reports):
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
    sentence = (
        "Here, values: 1 undecided; gains over None: 1 undecided. 1 value of the paper and 1 gain "
    )
    sentence += "over None are not compared: the data are simulated."
    assert f"<strong>{sentence}</strong>" in reports[1]["first"]
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
        make_page(command, folder)
    assert (folder / "report.html").read_bytes() == before


def test_the_same_results_give_the_same_page(command, reports, monkeypatch):
    monkeypatch.chdir(reports[0])
    assert command.page(Path("results/second"), [Path("config.yaml")]) == reports[1]["second"]
