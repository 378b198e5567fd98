# Code is an input: an edit reruns exactly the jobs whose numbers it can move.
# Snakemake does not watch imported modules. `snakemake --touch` declares an edit harmless.
import grimp

IMPORTS = grimp.build_graph("userbench", cache_dir=None)


def code(name):
    """Source files that `userbench.<name>` is made of."""
    needed = {f"userbench.{name}", *IMPORTS.find_upstream_modules(f"userbench.{name}")}
    leaves = sorted(part for part in needed if not IMPORTS.find_children(part))
    return [f"src/{leaf.replace('.', '/')}.py" for leaf in leaves]


def method_code(method):
    """Source files of a method: a file of methods/, or whatever module the config names."""
    path = method_path(method)
    if path in IMPORTS.modules:
        return code(path.removeprefix("userbench."))
    return [importlib.util.find_spec(path).origin]
