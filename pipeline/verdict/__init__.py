"""Whether to trust a result, and why not: from statuses and residuals, and what was looked for."""

from pipeline.verdict.asked import Asked
from pipeline.verdict.judge import judge
from pipeline.verdict.words import NO_MOTION_PX, Finding, Trust, Verdict

__all__ = ["NO_MOTION_PX", "Asked", "Finding", "Trust", "Verdict", "judge"]
