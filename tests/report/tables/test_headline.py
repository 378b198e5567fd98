"""The sentences that open Table 2: true of tables made by hand, odd ones among them."""

import numpy as np
import pandas as pd
import pytest
from known_differences import EXAMPLES, RIGHT, layout, make_statistics, write_results

NAN = float("nan")
CHANCE = "Chance is that of seeds and test users, "


@pytest.fixture
def headline():
    from userbench.report.tables import headline

    return headline


def cell(task: str, run: str, mean: float, gain=NAN, p=NAN, **changes) -> dict:
    """A row of `statistics.csv`; a gain over None with its p value over the whole table."""
    return {
        **{"task": task, "label": task.title(), "data": "real", "run": run, "row": run.upper()},
        **{"ranked": 1, "seeds": 3, "mean": mean, "note": ""},
        **{"baseline.run": "" if run == "none" else "none", "baseline.difference": gain},
        **{"baseline.p_table": p, "best_other.p_holm": 0.5, "best_other.verdict": "undecided"},
    } | changes


def rows_of(*papers: str) -> dict:
    """A layout with these rows, of which `adaptssr` is the paper's."""
    paper = {"adaptssr": "AdaptSSR"}
    return {"rows": [{"run": r, "label": r.upper(), "paper": paper.get(r)} for r in papers]}


OURS = rows_of("none", "mlm", "adaptssr")


def table_of(*cells: dict) -> pd.DataFrame:
    return pd.DataFrame(cells)


TWO_TASKS = [
    cell("age", "none", 50.0),
    cell("age", "mlm", 52.5, 2.5, 0.04),
    cell("age", "adaptssr", 49.0, -1.0, 0.6),
    cell("click", "none", 5.0),
    cell("click", "mlm", 6.25, 1.25, 0.001),
    cell("click", "adaptssr", 3.0, -2.0, 0.02, **{"best_other.verdict": "worse"}),
]


def test_claims_name_row_task_and_points(headline):
    # Wrong: a claim of the wrong sign, row or task; a difference that chance explains is claimed.
    sentences = headline.sentences(table_of(*TWO_TASKS), OURS)
    assert sentences == [
        "MLM is better than NONE beyond chance on Age (+2.50 points) and Click (+1.25 points).",
        "ADAPTSSR is worse than NONE beyond chance on Click (−2.00 points).",
        f"{CHANCE}all 4 comparisons corrected together (Holm, 5%).",
        "ADAPTSSR has average rank 3.00 over 2 tasks (1 is best), place 3 of 3 rows; MLM is first "
        "with 1.00.",
        "Its rank is 3 on Age and 3 on Click.",
        "ADAPTSSR is better than NONE beyond chance on 0 of 2 tasks and worse on 1.",
        "ADAPTSSR is better than every other row beyond chance on 0 of 2 tasks, and worse than at "
        "least one on 1 (corrected over its tasks and the other rows).",
    ]


def test_nothing_significant_is_one_sentence(headline):
    # Wrong: two lists that say "none", or silence, which reads as if nothing had been tested.
    cells = [{**one, "baseline.p_table": 0.05} for one in TWO_TASKS]
    cells[0] |= {"baseline.p_table": NAN}
    cells[3] |= {"baseline.p_table": NAN}
    sentences = headline.on_comparisons(table_of(*cells))
    assert sentences[0] == "No row is better or worse than NONE beyond chance."
    assert sentences[1] == f"{CHANCE}all 4 comparisons corrected together (Holm, 5%)."


def test_one_side_without_claims_is_reported(headline):
    better = [one for one in TWO_TASKS if one["run"] != "adaptssr"]
    assert headline.on_comparisons(table_of(*better))[1] == (
        "No row is worse than NONE beyond chance."
    )


def test_comparisons_that_cannot_be_made_are_counted(headline):
    # Wrong: "all 4 comparisons" where a collapsed seed leaves one of them out.
    cells = [*TWO_TASKS[:2], TWO_TASKS[2] | {"baseline.p_table": NAN, "note": "seed 1 failed"}]
    sentences = headline.on_comparisons(table_of(*cells))
    assert sentences[-1] == (
        f"{CHANCE}1 of 2 comparisons corrected together (Holm, 5%); the others have failed or "
        "collapsed seeds, or no spread."
    )


def test_a_baseline_is_no_row(headline):
    # Wrong: "no row is better" beside a baseline that is; or it counts in a rank.
    bag = cell("age", "bag", 80.0, 30.0, 0.001, ranked=0)
    sentences = headline.sentences(table_of(*TWO_TASKS[:3], bag), OURS)
    assert sentences[0] == "MLM is better than NONE beyond chance on Age (+2.50 points)."
    assert (
        sentences[2]
        == "The reference BAG is better than NONE beyond chance on Age (+30.00 points)."
    )
    assert "ADAPTSSR has rank 3 of 3 rows on Age." in sentences
    few = [one | {"baseline.p_table": NAN} for one in TWO_TASKS[:3]]
    sentences = headline.on_comparisons(table_of(*few, bag))
    assert sentences[0] == "No row is better or worse than NONE beyond chance."


def test_a_baseline_has_one_seed_and_is_no_evidence_about_the_rows(headline):
    # Wrong: "one seed has no spread" of rows of three seeds, because a baseline has one.
    bag = cell("age", "bag", 80.0, 30.0, ranked=0, seeds=1)
    collapsed = [one | {"baseline.p_table": NAN} for one in TWO_TASKS[:3]]
    assert headline.on_comparisons(table_of(*collapsed, bag)) == [
        "No row can be compared with NONE: seeds failed or collapsed, or have no spread."
    ]


def test_a_row_that_is_better_everywhere_has_a_short_sentence(headline):
    # Wrong: a sentence of 54 cells that nobody reads.
    tasks = ("age", "life", "click", "like")
    cells = [
        one
        for n, task in enumerate(tasks)
        for one in (cell(task, "none", 50.0), cell(task, "mlm", 51.0 + n, 1.0 + n, 0.001))
    ]
    sentences = headline.on_comparisons(table_of(*cells))
    assert sentences[0] == (
        "MLM is better than NONE beyond chance on all 4 tasks measured (+1.00 to +4.00 points)."
    )
    cells[1] |= {"baseline.p_table": 0.3}
    assert (
        "on Life (+2.00 points), Click (+3.00 points) and Like (+4.00 points)"
        in (headline.on_comparisons(table_of(*cells))[0])
    )


def test_two_rows_of_one_label_are_two_rows(headline):
    # Wrong: claims of both as if they were of one.
    twins = [
        cell("age", "none", 50.0),
        cell("age", "a", 52.0, 2.0, 0.01, row="X"),
        cell("age", "b", 53.0, 3.0, 0.01, row="X"),
    ]
    sentence = headline.on_comparisons(table_of(*twins))[0]
    assert (
        sentence
        == "X is better than NONE beyond chance on Age (+2.00 points); X on Age (+3.00 points)."
    )


def test_simulated_data_are_named_first(headline):
    # Wrong: numbers of a simulated world are read as those of users, or real ones as simulated.
    mixed = table_of(
        *(one | {"data": "simulated"} if n < 3 else one for n, one in enumerate(TWO_TASKS))
    )
    what = "simulated: numbers of simulated data say nothing of real users."
    assert headline.sentences(mixed, OURS)[0] == f"The data of Age are {what}"
    all_of_it = headline.sentences(mixed.assign(data="simulated"), OURS)
    assert all_of_it[0] == f"All data are {what}"
    assert not any(
        "simulated" in sentence for sentence in headline.sentences(table_of(*TWO_TASKS), OURS)
    )


def test_without_adaptssr_no_sentence_names_it(headline):
    other = [one for one in TWO_TASKS if one["run"] != "adaptssr"]
    assert not headline.on_ours(table_of(*other), rows_of("none", "mlm"))
    # In the layout, but no task has scores of it.
    assert not headline.on_ours(table_of(*other), OURS)
    alone = [cell("age", "adaptssr", 50.0, **{"baseline.run": ""})]
    assert not headline.on_ours(table_of(*alone), rows_of("adaptssr"))
    assert headline.on_comparisons(table_of(*alone)) == [
        "There is no row beside ADAPTSSR to compare."
    ]


def test_adaptssr_may_be_the_baseline(headline):
    # Wrong: it is compared with itself.
    cells = [
        cell("age", "adaptssr", 50.0, **{"baseline.run": ""}),
        cell("age", "mlm", 49.0, -1.0, 0.5, **{"baseline.run": "adaptssr"}),
    ]
    sentences = headline.on_ours(table_of(*cells), rows_of("adaptssr", "mlm"))
    assert sentences[0] == "ADAPTSSR has rank 1 of 2 rows on Age."
    assert len(sentences) == 2 and "than every other row" in sentences[1]


def test_ranks_are_shared_and_those_of_the_aggregate(headline, tmp_path):
    # Wrong: another rank than aggregate.csv has of the same table.
    from userbench.report.statistics import command as statistics

    write_results(tmp_path, RIGHT)
    chosen = layout()
    chosen["rows"][1]["paper"] = "AdaptSSR"  # the row with a tie in one task
    aggregate = make_statistics(statistics, "aggregate", tmp_path, chosen).set_index("run")["rank"]
    table = make_statistics(statistics, "statistics", tmp_path, chosen)
    first, by_task = headline.on_ours(table, chosen)[:2]
    assert first == (
        f"MLM has average rank {aggregate['mlm']:.2f} over 2 tasks (1 is best), place 2 of 3 rows; "
        f"ADAPTSSR is first with {aggregate['adaptssr']:.2f}."
    )
    assert by_task == "Its rank is 2 on Task age and 2.5 on Task life."
    tied = [
        *(cell("age", run, mean) for run, mean in (("none", 1.0), ("adaptssr", 2.0))),
        *(cell("click", run, mean) for run, mean in (("none", 2.0), ("adaptssr", 1.0))),
    ]
    sentence = headline.on_ours(table_of(*tied), OURS)[0]
    assert (
        sentence
        == "ADAPTSSR has average rank 1.50 over 2 tasks (1 is best), shared place 1 of 2 rows."
    )


def test_tasks_with_a_failed_fit_are_left_out_of_ranks(headline):
    failed = {"mean": NAN, "note": "seed 2 failed"}
    third = [cell("cvr", run, 60.0) for run in ("none", "mlm", "adaptssr")]
    cells = [*TWO_TASKS[:4], TWO_TASKS[4] | failed, TWO_TASKS[5], *third]
    sentences = headline.on_ours(table_of(*cells), OURS)
    assert "over the 2 of 3 tasks that every row has a score of (1 is best)" in sentences[0]
    assert sentences[1] == "Its rank is 3 on Age and 2 on Cvr."
    none_whole = headline.on_ours(table_of(TWO_TASKS[0], TWO_TASKS[1] | failed, TWO_TASKS[2]), OURS)
    assert not any("rank" in one for one in none_whole)


# --------------------------------------------------------- odd tables, by the command itself


def sentences_of(headline, folder, right, chosen) -> list[str]:
    """The sentences on runs that get so many of EXAMPLES right; checked against statistics.md."""
    from userbench.report.markup import markdown_text
    from userbench.report.statistics import command as statistics

    write_results(folder, right)
    chosen["rows"][-1]["paper"] = "AdaptSSR"
    sentences = headline.sentences(
        make_statistics(statistics, "statistics", folder, chosen), chosen
    )
    listed = "".join(f"- {markdown_text(sentence)}\n" for sentence in sentences)
    assert listed in (folder / "statistics.md").read_text()
    return sentences


def test_one_seed(headline, tmp_path):
    # Wrong: one seed that is "beyond chance", or ranks that hide that nothing was tested.
    right = {name: by_seed[:1] for name, by_seed in RIGHT.items()}
    assert sentences_of(headline, tmp_path, right, layout()) == [
        "No row can be compared with NONE: one seed has no spread.",
        "ADAPTSSR has average rank 1.00 over 2 tasks (1 is best), place 1 of 3 rows.",
        "Its rank is 1 on Task age and 1 on Task life.",
    ]


def test_no_other_row(headline, tmp_path):
    chosen = layout()
    chosen["rows"] = chosen["rows"][:1]
    right = {name: by_seed for name, by_seed in RIGHT.items() if name[0] == "none"}
    sentences = sentences_of(headline, tmp_path, right, chosen)
    assert sentences == ["There is no row beside NONE to compare."]


def test_all_rows_collapsed(headline, tmp_path):
    # Wrong: rows that answer the same for everybody are better or worse than each other.
    right = {
        (run, task): [EXAMPLES if (seed + place) % 2 else 0 for seed in range(3)]
        for place, run in enumerate(("none", "mlm", "adaptssr"))
        for task in ("age", "life")
    }
    sentences = sentences_of(headline, tmp_path, right, layout(simulated=True))
    assert sentences[:2] == [
        "All data are simulated: numbers of simulated data say nothing of real users.",
        "No row can be compared with NONE: seeds failed or collapsed, or have no spread.",
    ]
    assert not any("beyond chance" in one for one in sentences)


def test_seeds_that_all_differ_by_the_same(headline, tmp_path):
    right = {
        (run, task): [60 + place, 66 + place, 63 + place]
        for place, run in enumerate(("none", "mlm", "adaptssr"))
        for task in ("age", "life")
    }
    sentences = sentences_of(headline, tmp_path, right, layout())
    assert sentences[0] == (
        "No row can be compared with NONE: seeds failed or collapsed, or have no spread."
    )


# ------------------------------------------------------------------------- the paper's order


def order(**tasks: tuple[float, float]) -> pd.DataFrame:
    """`agreement.csv` of tasks with these tau and p values, of two methods each."""
    rows = [
        {"task": task, "label": task.upper(), "tau": tau, "p_value": p, "run": run}
        for task, (tau, p) in tasks.items()
        for run in ("none", "adaptssr")
    ]
    return pd.DataFrame(rows, columns=["task", "label", "tau", "p_value", "run"])


TAU = "Kendall's tau of this order of the rows and the paper's is"


@pytest.mark.parametrize(
    ("tasks", "sentence"),
    [
        (
            # Of two tests of .03, none is below .05 when both are corrected together.
            {"t1": (0.6, 0.03), "t2": (-0.51, 0.03)},
            f"{TAU} −0.51 to 0.60 over 2 tasks; on none does it differ from 0 beyond chance "
            "(permutation tests, corrected over the tasks).",
        ),
        (
            {"t1": (0.73, 0.001), "t2": (-0.69, 0.01), "t3": (0.2, 0.4), "t4": (0.8, 0.0)},
            f"{TAU} −0.69 to 0.80 over 4 tasks; the orders agree beyond chance on T1 (0.73) and T4 "
            "(0.80) and are opposed beyond chance on T2 (−0.69) (permutation tests, corrected over "
            "the tasks).",
        ),
        (
            {"t1": (-0.2, 0.4), "t2": (NAN, NAN)},
            f"{TAU} −0.20 on T1; it does not differ from 0 beyond chance (permutation test).",
        ),
        (
            {"t1": (1.0, 0.01)},
            f"{TAU} 1.00 on T1; the orders agree beyond chance on T1 (1.00) (permutation test).",
        ),
        (
            {"t1": (NAN, NAN)},
            "The order of the rows cannot be compared with the paper's: fewer than three rows are "
            "in the paper, or all means are equal.",
        ),
    ],
)
def test_the_order_beside_the_papers(headline, tasks, sentence):
    # Wrong: one of six p values below .05 is called an agreement, or the sign is lost.
    assert headline.on_order(order(**tasks)) == [sentence]


def test_no_task_of_the_paper_no_order(headline):
    assert headline.on_order(order()) == []
    assert headline.sentences(table_of(*TWO_TASKS), OURS, order()) == (
        headline.sentences(table_of(*TWO_TASKS), OURS)
    )
    with_order = headline.sentences(table_of(*TWO_TASKS), OURS, order(t1=(0.5, 0.5)))
    assert with_order[-1].startswith(TAU)


def test_lists_and_numbers_in_words(headline):
    from userbench.report.tables.cells import number

    assert headline.listed(["a"]) == "a"
    assert headline.listed(["a", "b", "c"]) == "a, b and c"
    assert [number(value) for value in (-0.001, -0.5, np.float64(1))] == [
        *("0.00", "−0.50", "1.00")
    ]
