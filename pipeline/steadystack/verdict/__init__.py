"""Whether to trust a result, and why not: from statuses and residuals, and what was looked for."""

from steadystack.verdict.asked import Asked
from steadystack.verdict.judge import judge
from steadystack.verdict.words import NO_MOTION_PX, Finding, Trust, Verdict

__all__ = ["NO_MOTION_PX", "Asked", "Finding", "Trust", "Verdict", "judge"]
