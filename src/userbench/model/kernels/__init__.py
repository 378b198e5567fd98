"""Kernels of our own for a GPU, one file each, in Triton; each names the plain version it equals.

Every operator is one kernel. What it draws comes from one seed a step, which torch's generator
draws on the device, and an offset for each place that draws: a captured step draws anew at every
replay, and a resumed training, whose generator is restored, draws what it would have drawn. Views
are given their random numbers, drawn as on a CPU.
"""
