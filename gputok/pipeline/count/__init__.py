"""From corpora to counts of words."""

from __future__ import annotations
