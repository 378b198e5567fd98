"""What pages of measurements share: tables, and the sentence on what was measured where."""

from typing import Any

# Above this many cores busy with something else, values are not to be quoted.
LOADED = 0.1


def table(columns: str, lines: Any) -> str:
    """A Markdown table; `columns` are separated by bars, the first is text."""
    names = columns.split("|")
    head = ["| " + " | ".join(names) + " |", "|---|" + "---:|" * (len(names) - 1)]
    return "\n".join([*head, *("| " + " | ".join(cells) + " |" for cells in lines)])


def conditions(facts: dict[str, Any]) -> str:
    """Hardware, versions, date, and whether the figures may be quoted."""
    parts = [measured_on(facts)]
    if facts.get("config", {}).get("quick"):
        parts.append("**A quick run, whose figures mean nothing.**")
    others = facts.get("cores_busy_with_others")
    if others is None or not others <= LOADED:
        parts.append(
            f"**Not to be quoted: other processes kept {others} cores busy meanwhile.** Measure "
            "again on an idle machine."
        )
    else:
        parts.append(f"Other processes kept {others} cores busy meanwhile.")
    return " ".join(parts)


def measured_on(facts: dict[str, Any]) -> str:
    """When, in what time, on what, and by which code."""
    unknown = "unknown"
    libraries, git = facts.get("libraries", {}), facts.get("git", {})
    machine = facts.get("machine") or facts.get("hardware", {})
    commit = git.get("commit", unknown)[:12] + (" with changes" if git.get("changed") else "")
    return (
        f"Measured {facts.get('finished', unknown)} in {facts.get('seconds', unknown)} s on "
        f"{machine.get('processor', unknown)} ({machine.get('cores', unknown)} cores, "
        f"{machine.get('memory_gib', unknown)} GiB, {machine.get('gpu') or 'no GPU'}), "
        f"{machine.get('system', unknown)}, Python {facts.get('python', unknown)}, "
        f"torch {libraries.get('torch', unknown)}, commit {commit}."
    )
