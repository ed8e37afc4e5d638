"""The ByteLevel alphabet of GPT-2: a visible character for each byte; and the tokens of bytes of SentencePiece.

A printable Latin-1 character stands for its own byte. The other bytes get the characters from U+0100 on, in order.

>>> BYTE_CHARACTERS[ord("a")], BYTE_CHARACTERS[ord(" ")], BYTE_CHARACTERS[0]
('a', 'Ġ', 'Ā')
"""

import itertools

_printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_spare = itertools.count(0x100)

BYTE_CHARACTERS = "".join(chr(byte if byte in _printable else next(_spare)) for byte in range(256))
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
