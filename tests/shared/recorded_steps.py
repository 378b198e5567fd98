"""A stand-in for CUDA graphs where there is no GPU."""

import torch


class Recorded:
    """In place of CUDA graphs: replays the step on the tensors that it was captured with."""

    def __new__(cls, step):
        from userbench.training.acceleration import Captured, Graphs

        class Recording(Graphs):
            captures = 0

            def capture(self, own, inputs):
                Recording.captures += 1
                loss = torch.zeros(())
                return Captured(own, lambda: loss.copy_(self.step(*inputs)), loss)

        return Recording(step)
