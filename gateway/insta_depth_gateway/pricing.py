"""What a picture costs: a base, and each step that it takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from insta_depth_gateway.accounts.ledger import without_zeros

_USUAL_STRENGTH = 0.4


@dataclass(frozen=True)
class Prices:
    """``base`` and ``per_step`` in credits."""

    base: Decimal
    per_step: Decimal

    def of(self, num_inference_steps: int) -> Decimal:
        """Return the price of a picture of so many steps."""
        return without_zeros(self.base + self.per_step * num_inference_steps)

    def most(self, attributes: Mapping[str, Any]) -> Decimal:
        """Return what a request may cost: with a second pass, where it asks for one."""
        return self.actual(attributes, is_refined=attributes.get("refine_face", "never") != "never")

    def actual(self, attributes: Mapping[str, Any], is_refined: bool) -> Decimal:
        """Return what a request's picture costs; its steps are among ``attributes``."""
        steps = attributes["num_inference_steps"]
        strength = attributes.get("refine_strength", _USUAL_STRENGTH)
        return self.of(steps + (refine_steps(steps, strength) if is_refined else 0))


def refine_steps(num_inference_steps: int, strength: float) -> int:
    """Return the steps of a second pass, counted as the server does."""
    return min(max(int(num_inference_steps * strength), 1), num_inference_steps)
