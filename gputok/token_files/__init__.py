"""Files of the ids of a corpus."""

from __future__ import annotations
