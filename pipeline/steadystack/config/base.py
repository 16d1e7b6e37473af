"""What the sections of the settings are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Index = Annotated[int, Field(ge=0)]
Path_ = Annotated[str, Field(min_length=1)]
Listed = Field(strict=False)  # YAML has lists where the settings have tuples
SomeListed = Field(strict=False, min_length=1)


class Section(BaseModel):
    """A part of the settings: unknown keys and wrong types are errors, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())
