"""The two loops, run as the commands they are, in seconds, and the files that they leave."""

import json

SMALL = '{"dim": 8, "layers": 1, "heads": 2, "max_length": 20}'


def data_flags(tiny):
    folder = ["--store", str(tiny / "store"), "--splits", str(tiny / "splits")]
    return [*folder, "--encoder", SMALL, "--seed", "0", "--device", "cpu"]


def pretrain(tiny, out, *flags, method="mlm", epochs=2):
    from userbench import pretrain

    size = ["--epochs", str(epochs), "--batch-size", "64", "--keep", "1", str(epochs)]
    pretrain.main([*data_flags(tiny), "--method", method, *size, "--out", str(out), *flags])
    return out


def finetune(tiny, out, *flags, read=True, **changes):
    from userbench import finetune

    tasks = []
    for name, kind in (("age", "classification"), ("click", "top_n"), ("gender", "binary")):
        task = {"name": name, "kind": kind, "lr": 1e-2, "batch_size": 64, "epochs": 2}
        tasks += ["--task", json.dumps({**task, **changes, "out": str(out / f"{name}.json")})]
    finetune.main([*data_flags(tiny), "--run", "test", *flags, *tasks])
    return [(out / f"{name}.json").read_bytes() for name in ("age", "click", "gender") if read]


def seeds_flags(seeds):
    return ["--seed", *map(str, seeds)]


def content(folder):
    """Every file but the provenance records, by its path."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if "provenance" not in path.name
    }
