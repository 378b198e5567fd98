"""Pictures: the same bytes from the same numbers, embedded fonts, text that does not overlap."""

import pytest
from experiments import figure_layout
from figure_cases import (
    ABLATION,
    COMBINATION,
    STUDIES,
    TASKS,
    WORLD_TASKS,
    file_of,
    inputs,
    make_figure,
    predictions,
    scores,
)


@pytest.mark.parametrize("figure", STUDIES)
def test_same_numbers_same_bytes_and_simulated_is_written(command, tmp_path, figure):
    """Wrong: a date or a random id in a file; a picture that does not say what the data are."""
    asked = STUDIES[figure]
    tasks = WORLD_TASKS if figure == "worlds" else TASKS
    measured = scores([row["run"] for row in asked["rows"]], tasks)
    written = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        make_figure(command, folder, figure, asked, measured)
        written.append(
            [(folder / f"{figure}.{kind}").read_bytes() for kind in ("svg", "pdf", "png")]
        )
        assert (folder / f"{figure}.csv.provenance.json").exists()
    assert written[0] == written[1]
    from userbench.report.drawing.scores import read_frame
    from userbench.report.drawing.style import DOUBLE, applied

    frame = read_frame(tmp_path / "first" / f"{figure}.csv")
    assert set(frame["data"]) == {"simulated"}

    with applied():
        drawn = file_of(figure).draw(frame, inputs(asked))
        drawn.draw_without_rendering()
        (written,) = [text for text in drawn.texts if text.get_text() == drawn.get_supxlabel()]
        assert written.get_window_extent().x1 <= drawn.bbox.x1
    assert drawn.get_supxlabel().startswith("SIMULATED DATA")
    assert drawn.get_figwidth() == DOUBLE


def test_fonts_of_the_pdf_are_embedded(command, tmp_path):
    """Wrong: a printer shows another font (Type 3 is refused by publishers)."""
    measured = scores(["clue", "with_clue"])
    make_figure(command, tmp_path, "combination", COMBINATION, measured)
    pdf = (tmp_path / "combination.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"<text" not in (tmp_path / "combination.svg").read_bytes()


def test_text_does_not_overlap(tmp_path):
    """Wrong: the ticks of one panel run into those of the next, or a label leaves the page."""
    from userbench.report.drawing.style import applied

    tasks = {f"task{n}": (f"T{n} Life status", "ndcg@10") for n in range(6)}
    asked = figure_layout(ABLATION["rows"], tasks, **ABLATION["options"])
    measured = scores([row["run"] for row in asked["rows"]], tasks)
    given = inputs(asked, measured, predictions(tmp_path, measured))
    frame = file_of("ablation").numbers(given)
    with applied():
        drawn = file_of("ablation").draw(frame, given)
        drawn.draw_without_rendering()
        page = drawn.bbox
        boxes = []
        for axes in drawn.axes:
            texts = [*axes.get_xticklabels(), *axes.get_yticklabels(), axes.xaxis.label, axes.title]
            shown = [text for text in texts if text.get_visible() and text.get_text()]
            low, high = axes.get_xlim()
            boxes += [
                text.get_window_extent()
                for text in shown
                if text not in axes.get_xticklabels() or low <= text.get_position()[0] <= high
            ]
    for number, box in enumerate(boxes):
        assert page.x0 <= box.x0 and box.x1 <= page.x1
        assert not any(box.overlaps(other) for other in boxes[:number] if other.width * box.width)
