"""Where the time of a training step goes on a GPU: its kernels, by name."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

STEPS = 5
KERNELS = 25


def by_kernel(step: Callable[[], Any], device: torch.device) -> Iterator[dict[str, Any]]:
    """The kernels of a step that take longest: launches and microseconds a step of each.

    Last comes all of the step. The steps are not captured: a replayed graph has other gaps, and
    the same kernels.
    """
    on_gpu = device.type == "cuda"
    activity = ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU
    for _ in range(2):
        step()
    with profile(activities=[activity]) as profiled:
        for _ in range(STEPS):
            step()
        if on_gpu:
            torch.cuda.synchronize(device)
    found = [
        (event.key, event.count / STEPS, time_of(event, on_gpu) / STEPS)
        for event in profiled.key_averages()
        if time_of(event, on_gpu) > 0
    ]
    for name, launches, microseconds in sorted(found, key=lambda row: -row[2])[:KERNELS]:
        row = {"kernel": name[:80], "launches": launches, "microseconds": microseconds}
        yield {key: round(value, 2) if key != "kernel" else value for key, value in row.items()}
    yield {
        "kernel": "all of the step",
        "launches": round(sum(row[1] for row in found), 2),
        "microseconds": round(sum(row[2] for row in found), 2),
    }


def time_of(event: Any, on_gpu: bool) -> float:
    """Microseconds that an event took on the device, without those inside it."""
    return event.self_device_time_total if on_gpu else event.self_cpu_time_total
