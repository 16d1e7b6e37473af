"""Who may talk to the scheduler and the workers."""

from __future__ import annotations

from pathlib import Path

from distributed import Security

from steadystack.cluster.settings import Settings
from steadystack.model import InputError


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
    return _of_files(given.ca, given.cert, given.key)


def in_files(made: Security, folder: str) -> Security:
    """Temporary certificates as files in a folder that nobody else can read, for other machines."""
    of_worker = made.get_tls_config_for_role("worker")
    found = {"ca": of_worker["ca_file"], "cert": of_worker["cert"], "key": of_worker["key"]}
    paths = {name: str(Path(folder) / f"{name}.pem") for name in found}
    for name, text in found.items():
        Path(paths[name]).write_text(text)
    return _of_files(**paths)


def _of_files(ca: str, cert: str, key: str) -> Security:
    roles = ("client", "scheduler", "worker")
    made: Security = Security(
        require_encryption=True,
        tls_ca_file=ca,
        **{f"tls_{role}_cert": cert for role in roles},
        **{f"tls_{role}_key": key for role in roles},
    )
    return made
