"""From texts to ids: one text, many, and whole corpora."""

from __future__ import annotations
