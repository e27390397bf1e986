"""What identities are made of: sources of data, versions of libraries, and code that counts."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from counterpoise import registry
from counterpoise.code import code_digests, library_version
from counterpoise.files import digest_of
from counterpoise.spec.dataset import DataSource

DISPLAY = frozenset(
    f"counterpoise.{name}"
    for name in ("code", "syntax", "errors", "provenance", "training.progress")
)
"""Modules that jobs import to talk and to record, and that change no result."""


def raw_identity(name: str, source: DataSource, root: Path) -> dict[str, Any]:
    """What a source's files are: published checksums, or what generates them.

    Args:
        root: the checkout, which folders of the user's own start from.

    Raises:
        UserError: files of the user's own are not there.
    """
    identity: dict[str, Any] = {
        "source": name,
        "files": {file.name: file.checksum for file in source.files},
        "needs": {library: library_version(library) for library in source.needs},
    }
    if source.generator is not None:
        chosen = registry.find("generators", source.generator.name)
        options = chosen.Options(**source.generator.options)
        identity["generator"] = [source.generator.name, options.model_dump(mode="json")]
        if hasattr(chosen, "identity"):  # it reads files of the user's own
            identity["read"] = chosen.identity(options, root)
        identity["code"] = code_digests([chosen.__name__], DISPLAY)
    return identity


def raw_digest(name: str, source: DataSource, root: Path) -> str:
    """Digest of :func:`raw_identity`."""
    return digest_of(raw_identity(name, source, root), length=8)


def versions(
    common: tuple[str, ...], module: ModuleType, *, optional: bool = False
) -> dict[str, str]:
    """Versions of the common libraries and of those that a module of the catalogue names.

    What only some methods need may be absent: planning goes on, and training them says so.
    """
    own: tuple[str, ...] = getattr(module, "LIBRARIES", ())
    found = {name: library_version(name) for name in common}
    return found | {name: library_version(name, optional=optional) for name in own}
