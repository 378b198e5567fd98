"""Results to statistics, tables, figures, verdicts and the page."""
