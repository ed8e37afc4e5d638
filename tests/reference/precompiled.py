"""The map of SentencePiece's normalizers, in plain Python."""

from __future__ import annotations

import re

from tests.reference.normalize import edit, kind_of, placed


def normalize_precompiled(data, start, end, frozen, trie, texts, graphemes, aligned):
    """Replaces grapheme clusters of up to five bytes, or else characters; see kernels/cpu/precompiled.py."""

    def step(unit: int) -> int:
        return (unit >> 10) << ((unit & 512) >> 6)

    def look_up(text: bytes) -> str | None:
        at = step(int(trie[0])) if len(trie) else 0
        for byte in text:
            at ^= byte
            if byte == 0 or at >= len(trie) or int(trie[at]) & 0x800000FF != byte:
                return None
            leaf = int(trie[at]) >> 8 & 1
            at ^= step(int(trie[at]))
            if leaf:
                value = int(trie[at]) & 0x7FFFFFFF if at < len(trie) else len(texts)
                return None if value >= len(texts) else texts[value:].tobytes().partition(b"\0")[0].decode()
        return None

    def joined(before: list[int], kind: int) -> bool:
        """Whether a character continues the cluster of `before`: rules GB3 to GB9c and GB11 of UAX #29."""
        # b CONTROL, c CR, d LF, e EXTEND, f ZWJ, g SPACING, ...
        history = "".join(chr(97 + k) for k in before)
        step = history[-1] + chr(97 + kind)
        return step == "cd" or (not re.fullmatch("[bcd].|.[bcd]", step) and (
            re.fullmatch("i[ijlm]|[lj][jk]|[mk]k|.[efgpq]|h.", step) is not None
            or (step[1] == "o" and re.search("o[pqf]*p[pqf]*$", history) is not None)
            or (step[1] == "n" and re.search("n[epq]*f$", history) is not None)
        ))  # fmt: skip

    def normalize(characters, first):
        clusters, kinds = [], []
        for c, _ in characters:
            kind = kind_of(*graphemes, c)
            if clusters and joined(kinds, kind):
                clusters[-1] += c
                kinds.append(kind)
            else:
                clusters.append(c)
                kinds = [kind]
        changes = []
        for cluster in clusters:
            whole = look_up(cluster.encode()) if len(cluster.encode()) < 6 else None
            for old in [cluster] if whole is not None else cluster:
                new = look_up(old.encode())
                if new is None:
                    changes.append((old, 0))
                    continue
                changes += [(c, int(k >= len(old))) for k, c in enumerate(new)]
                if changes and len(new) < len(old):
                    changes[-1] = changes[-1][0], changes[-1][1] + len(new) - len(old)
        return placed(changes, characters, first)

    return edit(data, start, end, frozen, aligned, normalize)
