"""Nothing that is loaded runs as code, no name leaves its folder, no text becomes markup."""

import ast
import copy
import io
import json
import os
import pickle
import re
import shlex
import subprocess
import tokenize
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
import yaml
from config_check import check_config
from repository import ROOT
from snakemake_calls import config_flags, snakemake

OURS = sorted(
    path
    for folder in ("src", "benchmarks", "workflow", "profiles")
    for path in [*(ROOT / folder).rglob("*.py"), *(ROOT / folder).rglob("*.smk")]
) + [ROOT / "Snakefile"]
HOSTILE = 'it\'s "$(touch x)" `touch x`; é 中\n</script><script>alert(1)</script>' + (
    "<img src=x onerror=alert(2)> $x^{$ {wildcards} \x1b[31m & | \\"
)

# ------------------------------------------------------------------------------ no code in data

MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "jsonpickle"}
NAMES = {"eval", "exec", "compile", "__import__"}
CALLS = {
    *("torch.load", "torch.save", "yaml.load", "yaml.unsafe_load", "yaml.full_load"),
    *("yaml.load_all", "yaml.Loader", "yaml.UnsafeLoader", "yaml.FullLoader"),
    *("os.system", "os.popen", "np.fromfile", "np.lib.format.read_array", "torch.hub.load"),
    *("torch.jit.load", "runpy.run_path", "runpy.run_module", "ctypes.CDLL"),
}
METHODS = {"read_pickle", "to_pickle", "import_module", "exec_module", "load_module"}
# Where a module is imported by name, and whose names they are.
ALLOWED = {
    ("src/userbench/__main__.py", "import_module"): "the names are those of COMMANDS",
    ("src/userbench/data/format.py", "import_module"): "the names are those of files in formats/",
    ("src/userbench/embed.py", "import_module"): "one name, which stands there",
    ("src/userbench/report/drawing/command.py", "import_module"): "names are of report/figures/",
    ("src/userbench/view.py", "import_module"): "a config chooses methods among installed modules",
}


def dotted(node: ast.AST) -> str:
    """`np.load` of such an expression."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def dangers(tree: ast.AST) -> set[str]:
    """What in a module could run what it reads."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
            found |= {n for n in names if n.partition(".")[0] in MODULES}
            found |= {alias.name for alias in node.names if alias.name in METHODS}
        if isinstance(node, ast.Attribute):
            name = dotted(node)
            found |= {name} & CALLS
            found |= {node.attr} & METHODS
        if isinstance(node, ast.Call):
            found |= {dotted(node.func)} & NAMES
            given = {word.arg: word.value for word in node.keywords}
            if dotted(node.func) in ("np.load", "np.save", "numpy.load"):
                plain = getattr(given.get("allow_pickle"), "value", None) is False
                found |= set() if plain else {f"{dotted(node.func)} without allow_pickle=False"}
            if getattr(given.get("shell"), "value", False):
                found.add("shell=True")
            if "trust_remote_code" in given or "weights_only" in given:
                found.add("a loader of code")
    return found


def words_of(text: str) -> set[str]:
    """Dangerous words of a file of rules, which is not quite Python."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    line = " ".join(token.string for token in tokens if token.type != tokenize.STRING)
    joined = line.replace(" . ", ".").replace(" (", "(")
    return {
        word
        for word in MODULES | CALLS | METHODS | {f"{name}(" for name in NAMES}
        if re.search(
            rf"(?<![\w.]){re.escape(word)}" if "." in word else rf"\b{re.escape(word)}", joined
        )
    }


def test_nothing_loaded_can_run_as_code():
    """If wrong: somebody's data, checkpoint, config or results run on the reader's machine."""
    assert len(OURS) > 60
    found = set()
    for path in OURS:
        text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
        dangerous = dangers(ast.parse(text)) if path.suffix == ".py" else words_of(text)
        found |= {(name, what) for what in dangerous}
    assert found == set(ALLOWED)


def test_the_scan_sees_what_it_looks_for():
    for code in (
        *("import pickle", "from joblib import load", "eval(x)", "torch.load(x)", "np.load(x)"),
        *("yaml.load(x, yaml.Loader)", "run(x, shell=True)", "pd.read_pickle(x)"),
        *("torch.load(x, weights_only=False)", "np.load(x, allow_pickle=True)", "exec(x)"),
    ):
        assert dangers(ast.parse(code)), code
        assert words_of(code + "\n") or "shell" in code or "np.load" in code, code
    assert not dangers(ast.parse("np.load(x, allow_pickle=False); model.eval(); yaml.safe_load(x)"))


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_hostile_files_do_nothing(tmp_path):
    """The attack itself: arrays, checkpoints and configs that would run when they are loaded."""
    from userbench.data import arrays
    from userbench.report.verdict.verify import verify
    from userbench.results import artifact
    from userbench.training import checkpoint

    mark = tmp_path / "touched"
    array = tmp_path / "store" / "items.npy"
    array.parent.mkdir()
    np.save(array, np.array([Touch(mark)], dtype=object), allow_pickle=True)
    artifact.write_json(
        array.with_name("checksums.json"),
        {"arrays": {"items.npy": {"sha256": artifact.sha256(array)}}},
    )
    with pytest.raises(ValueError, match="items.npy"):
        arrays.read_array(array.parent, "items.npy")
    for content in (pickle.dumps(Touch(mark)), pickle.dumps({"a": Touch(mark)}, protocol=2)):
        path = tmp_path / "epoch1.safetensors"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="epoch1.safetensors: cannot be read"):
            checkpoint.load(path)
    config = tmp_path / "config.yaml"
    config.write_text(f"experiment: !!python/object/apply:os.mkdir ['{mark}']\n")
    with pytest.raises(ValueError, match="config.yaml: not valid YAML"):
        verify(config)
    assert not mark.exists()


# --------------------------------------------------------------------------- names, paths, commands

NASTY = [
    *(
        "../x",
        "..",
        ".",
        "/etc",
        "a/b",
        "-x",
        ".x",
        "",
        "a b",
        "x\n",
        "$(touch x)",
        "`x`",
        "é",
        "a;b",
    ),
    *("{seed}", "*", "~", "a'b", "A", "a\0", "a\\b"),
]


GIVEN = [
    *("experiment", "device", "precision", "sensitivity", "table2.compared_with"),
    *("similarity.corpus", "corpora.ttl.format", "corpora.ttl.raw_env"),
    *("tasks.age.corpus", "tasks.age.source", "runs.clue.method", "runs.clue.init_from"),
    *("runs.peterrec.encoder_of", "runs.with_coserec.overrides.views.kind"),
]
CALLED = ["corpora.ttl", "tasks.age", "runs.mlm"]


def put(content, place: str, name: str, rename: bool):
    """A config with `name` at some place, as a value or as a key."""
    content = copy.deepcopy(content)
    *above, last = place.split(".")
    parent = content
    for step in above:
        parent = parent[step]
    if rename:
        parent[name] = parent.pop(last)
    else:
        parent[last] = name
    return content


def test_no_name_of_a_config_leaves_its_folder():
    """If wrong: a config writes, or deletes, outside of results/<experiment>/."""
    smoke = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text(encoding="utf-8"))
    contents = [put(smoke, "experiment", name, rename=False) for name in NASTY]
    for name in ("../x", "x\n", "$(touch x)"):
        contents += [put(smoke, place, name, rename=False) for place in GIVEN]
        contents += [put(smoke, place, name, rename=True) for place in CALLED]
        given = copy.deepcopy(smoke)
        given["runs"]["ccl"]["inputs"] = {"views.generator": name}
        field = copy.deepcopy(smoke)
        field["runs"]["ccl"]["inputs"] = {name: "mlm"}
        contents += [given, field]
    for content in contents:
        with pytest.raises(ValueError, match=r"^fuzzed.yaml: "):
            check_config(content)


@pytest.mark.parametrize("name", [n for n in NASTY if n != "A"])
def test_no_task_of_the_command_line_leaves_the_store(tiny, name):
    from userbench.data import splits, store

    with pytest.raises(ValueError, match="cannot name a task"):
        store.load_labels(tiny / "store", name, "cpu")
    with pytest.raises(ValueError, match="cannot name a task"):
        splits.load_split(tiny / "splits", name)


# Words of a command that need no quotes: numbers, names and modules that the config's model has
# checked, paths of such names, choices of a list, and what rules make of these alone.
UNQUOTED = {
    *("format", "users", "n_items", "seed", "seeds", "max_bad_rows", "top", "epochs", "keep"),
    *(
        "batch_size",
        "max_length",
        "width",
        "starts",
        "device",
        "test",
        "figure",
        "stores",
        "store",
        "splits",
        "behaviours",
        "examples",
    ),
    *(
        "method",
        "init",
        "loop",
        "tasks",
        "hold_out",
        "out",
        "folder",
        "offline",
        "state",
        "save",
        "measured",
    ),
}


def test_rules_quote_what_comes_from_a_config():
    """If wrong: a new text of a config would reach the shell as it is."""
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        for name, quoted in re.findall(r"\{params\.(\w+)(:q)?\}", path.read_text(encoding="utf-8")):
            assert quoted or name in UNQUOTED, f"{path.name}: {{params.{name}}} without :q"


@pytest.mark.slow
def test_texts_of_a_config_reach_their_command_whole(checkout):
    """If wrong: a label runs as a command, or arrives as another one."""
    smoke = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text(encoding="utf-8"))
    for part in ("runs", "tasks"):
        for entry in smoke[part].values():
            entry["label"] = HOSTILE
    runs = smoke["runs"]
    words = config_flags(checkout, runs=runs, tasks=smoke["tasks"], seeds=[0])
    status, output = snakemake(checkout, "-n", "-p", *words, "results/table2.csv")
    assert status == 0, output
    commands = re.findall(r"python -m userbench[. ].*", output)
    assert len({" ".join(line.split()[2:4]) for line in commands}) >= 6
    script = ["python() { printf '%s\\0' \"$@\" >> words; printf '\\0' >> words; }"]
    script += [line[: line.rindex(" > ")] for line in commands]
    subprocess.run(["bash", "-euo", "pipefail", "-c", "\n".join(script)], cwd=checkout, check=True)
    assert not (checkout / "x").exists()
    ran = [c.split("\0") for c in (checkout / "words").read_text(encoding="utf-8").split("\0\0")]
    (asked,) = [json.loads(c[c.index("--config") + 1]) for c in ran if "--config" in c]
    for part in ("runs", "tasks"):
        assert {entry["label"] for entry in asked[part].values()} == {HOSTILE}
    assert shlex.split(shlex.quote(HOSTILE)) == [HOSTILE]


# ------------------------------------------------------------------------------------------ markup


def test_markdown_pages_escape_labels():
    """If wrong: a label of a config becomes an element of a page, or steers a terminal."""
    from userbench.report.markup import markdown_text
    from userbench.report.verdict.page import page
    from userbench.report.verdict.table import COLUMNS, TEXTS

    row = dict.fromkeys(COLUMNS, 1.0)
    row |= {name: "x" for name in TEXTS} | {"reason": HOSTILE, "gain_reason": HOSTILE}
    row |= {"verdict": "undecided", "gain_verdict": "undecided"}
    figures = {
        "task": "age",
        "label": HOSTILE,
        "data": "real",
        "rows": 3,
        "tau": 1.0,
        "p_value": 0.1,
    }
    text = page(pd.DataFrame([row]), pd.DataFrame([figures]))
    assert "<script" not in text.replace(r"\<script", "") and "\x1b" not in text
    assert len([line for line in text.splitlines() if line.startswith("|")]) == 9
    for line in text.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) in (6, 8)
    assert markdown_text("a\x1b[0m\u202eb") == r"a\[0mb"


def test_figures_draw_labels_as_text():
    """If wrong: an SVG that runs a label, or a figure that fails at a $ in it."""
    from matplotlib.figure import Figure

    from userbench.report.drawing import style

    with style.applied():
        figure = Figure(figsize=(3, 2))
        axes = figure.add_subplot(title=HOSTILE.replace("\x1b", "").replace("中", ""))
        axes.plot([0, 1], label="<script>alert(1)</script> $x^{$")
        axes.legend()
        written = io.BytesIO()
        figure.savefig(written, format="svg")
    tags = {element.tag.rpartition("}")[2] for element in ET.fromstring(written.getvalue()).iter()}
    assert not tags & {"script", "img", "image", "foreignObject", "a", "text"}
