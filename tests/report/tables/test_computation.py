"""The note on how the trainings behind a table were computed, by their records."""

import json
from pathlib import Path

import pytest
from score_files import make_table2


def provenance(precision="bf16", capture="graph", device="cuda", gpu="NVIDIA H100"):
    """The record of a training."""
    config = {"precision": precision, "capture": capture, "device": device}
    return {"config": config, "hardware": {"gpu": gpu}}


def training(folder, name, **how):
    """A file with the record of a training."""
    path = folder / f"{name}.json"
    path.write_text("{}")
    (folder / f"{name}.json.provenance.json").write_text(json.dumps(provenance(**how)))
    return path


@pytest.mark.parametrize(
    ("others", "note"),
    [
        ([], []),
        # On a machine that has a GPU, too, which was not asked.
        ([{"precision": "fp32", "capture": "none", "device": "cpu"}], []),
        (
            [{}, {"precision": "fp32", "capture": "none"}],
            [
                "Trainings were not all computed alike: 2 on a CPU in fp32; 1 on NVIDIA H100 in "
                "bf16, steps captured as CUDA graphs; 1 on NVIDIA H100 in fp32."
            ],
        ),
    ],
)
def test_how_trainings_were_computed_is_told(tmp_path, others, note):
    """Wrong: rows in bf16 beside rows in fp32, and the reader takes it for the methods."""
    from userbench.report.tables.computation import computation_notes

    on_cpus = {"precision": "fp32", "capture": "none", "device": "auto", "gpu": None}
    files = [training(tmp_path, f"cpu{number}", **on_cpus) for number in range(2)]
    files += [training(tmp_path, str(number), **other) for number, other in enumerate(others)]
    baseline = tmp_path / "baseline.json"
    baseline.write_text("{}")
    assert computation_notes([*files, baseline]) == note


def test_one_way_of_all_is_one_sentence(tmp_path):
    from userbench.report.tables.computation import computation_notes

    files = [training(tmp_path, str(number)) for number in range(3)]
    assert computation_notes(files) == [
        "Pre-trained and fine-tuned on NVIDIA H100 in bf16, steps captured as CUDA graphs."
    ]


def test_table_2_reads_the_records_of_its_scores(tmp_path):
    """Wrong: a table of a GPU whose note nobody ever sees."""
    from userbench.results import artifact

    assert "tf32" not in make_table2(tmp_path)["md"]
    scores = artifact.provenance_of(tmp_path / "scores.csv")["config"]["scores"]
    record = provenance(precision="tf32", capture="none")
    artifact.provenance_path(Path(scores[0])).write_text(json.dumps(record))
    assert "- Pre-trained and fine-tuned on NVIDIA H100 in tf32." in make_table2(tmp_path)["md"]
