"""When each control acts: from one share of the steps to another."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """The steps that lie between two shares of all of them, as diffusers' ``control_guidance_start`` and ``_end``."""

    start: float = 0.0
    end: float = 1.0

    def holds(self, step: int, step_count: int) -> bool:
        """Whether step ``step`` of ``step_count``, counted from 0, lies in it as a whole."""
        return step / step_count >= self.start and (step + 1) / step_count <= self.end
