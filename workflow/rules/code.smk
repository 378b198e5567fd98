# Code is an input: an edit reruns exactly the jobs whose numbers it can move.
# Snakemake does not watch imported modules. `snakemake --touch` declares an edit harmless.
import grimp

IMPORTS = grimp.build_graph("userbench", cache_dir=None)


def code(name):
    """Source files that `userbench.<name>` is made of."""
    needed = {f"userbench.{name}", *IMPORTS.find_upstream_modules(f"userbench.{name}")}
    leaves = sorted(part for part in needed if not IMPORTS.find_children(part))
    return [f"src/{leaf.replace('.', '/')}.py" for leaf in leaves]


def method_code(run):
    """Source files of a run's method, and of the views it is given."""
    run = RUNS[run]
    paths = [method_path(run["method"])] if "method" in run else []
    kind = run["set"].get("views", {}).get("kind")
    if kind is not None:
        paths.append(views_path(kind))
    files = []
    for path in paths:
        ours = path in IMPORTS.modules
        files += code(path.removeprefix("userbench.")) if ours else outside_code(path)
    return sorted(set(files))


def outside_code(path):
    """Source files of a module outside of this package: its folder, and all it may import of ours."""
    own = Path(importlib.util.find_spec(path).origin)
    beside = own.parent.glob("*.py") if "." in path else [own]
    return [*map(str, beside), *code("contract")]
