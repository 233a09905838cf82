"""Contracts that authors of plug-ins can hold their work to; installed as `gentune.testing`."""

from .families import FamilyContract

__all__ = ["FamilyContract"]
