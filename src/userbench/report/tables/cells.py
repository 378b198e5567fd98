"""What a cell of a table looks like: numbers, scores and intervals as plain text."""

import pandas as pd


def number(value: float) -> str:
    """Two decimals with a true minus sign; a dash for NaN."""
    # Why + 0: minus zero, as in -0.001 rounded, must not show its sign.
    return "–" if pd.isna(value) else f"{round(value, 2) + 0:.2f}".replace("-", "−")


def signed(points: float) -> str:
    """A difference in points with its sign."""
    return f"{points:+.2f}".replace("-", "−")


def score_text(mean: float, std: float) -> str:
    """mean±std; without std where there is none, a dash where there is no mean."""
    return number(mean) + (f"±{std:.2f}" if pd.notna(std) else "")


def interval(value: float, low: float, high: float) -> str:
    """A value and the bounds of its interval, if it has one."""
    return number(value) + ("" if pd.isna(low) else f" ({number(low)} to {number(high)})")


def metric_name(metric: str) -> str:
    """A metric as in the head of a table."""
    return {"accuracy": "Acc"}.get(metric, metric.upper())
