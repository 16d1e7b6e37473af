"""Who may talk to the scheduler and the workers."""

from __future__ import annotations

from pathlib import Path

from distributed import Security

from pipeline.cluster.settings import Settings
from pipeline.model import InputError


def secured(settings: Settings) -> Security | None:
    """The certificates of a cluster, the same for scheduler, workers and client.

    None: those of Dask's own configuration, if it has any. Batch jobs talk over a network that
    others are on, and who reaches a scheduler can run code: they get temporary ones unless told.
    """
    given = settings.security
    if given == "none" or (given is None and not settings.batch):
        return None
    made: Security
    if given is None or given == "temporary":
        try:
            made = Security.temporary()
        except ImportError as error:
            raise InputError(
                "cluster.security 'temporary' needs the package cryptography: install "
                "steadystack[jobqueue]"
            ) from error
        return made
    for name in ("ca", "cert", "key"):
        path = getattr(given, name)
        if not Path(path).is_file():
            raise InputError(f"cluster.security.{name} {path} is not there")
    roles = ("client", "scheduler", "worker")
    made = Security(
        require_encryption=True,
        tls_ca_file=given.ca,
        **{f"tls_{role}_cert": given.cert for role in roles},
        **{f"tls_{role}_key": given.key for role in roles},
    )
    return made
