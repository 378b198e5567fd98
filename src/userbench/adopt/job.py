"""A job of the workflow as plain values."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PlannedJob:
    """A job of the workflow: what it reads and writes, its command, and the content of its data."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    words: tuple[str, ...]
    content: str = ""
    """Checksums of the raw files, or given vectors, that it would read now; simulated ones are
    inputs."""

    @property
    def copies(self) -> bool:
        """Whether it only copies files."""
        return self.words[:1] == ("cp",)
