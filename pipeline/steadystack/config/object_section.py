"""The section of an object that a mask follows, and the settings it cannot be combined with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from steadystack.config.sections import Section
from steadystack.model import InputError


class ObjectSection(Section):
    """An object that moves on its own and is measured alone."""

    mask: str | None = Field(
        None,
        description=(
            "mask of the object where it is in the frame solve.anchor, in any supported stack "
            "format, nonzero = the object; the mask follows the object, within register.max_shift "
            "from frame to frame, and only what is inside it is measured; null: whole frames are "
            "measured"
        ),
    )

    @property
    def is_followed(self) -> bool:
        """Whether there is an object that a mask follows."""
        return self.mask is not None

    def check_command(self, command: str) -> None:
        """Refuse a command that measures whole frames, if an object is followed."""
        if self.is_followed:
            raise InputError(
                f"object.mask: {command} measures whole frames, not an object in them: use "
                "`steadystack run`, or leave object.mask out"
            )

    def check_settings(self, config: Any) -> None:
        """Refuse settings, of the type Config, that cannot be combined with an object."""
        self.check_alone(
            {
                "preprocess.flat_field": config.preprocess.flat_field,
                "preprocess.fixed_pattern": config.preprocess.fixed_pattern,
                "initial_shifts": config.initial_shifts.path,
                "solve.refine": config.solve.refine,
                f"motion.model {config.motion.model}": config.motion.is_more_than_shift,
                "external_reference": config.external_reference.path,
            }
        )

    def check_alone(self, others: Mapping[str, object]) -> None:
        """Refuse keys that cannot be combined with an object; `others`: whether each is set."""
        for key, is_set in others.items():
            if self.is_followed and is_set:
                raise ValueError(
                    f"object.mask cannot be combined with {key}: leave one of them out"
                )
