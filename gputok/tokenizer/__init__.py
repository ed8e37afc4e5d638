"""The pipeline: normalize, pre-tokenize, model, post-process; and decode for the way back.

steps        the components, and the text's way through the first two
training     from text to a model
encoding     from text to ids
vocabulary   tokens, added tokens, and from ids to text
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gputok import serialization
from gputok.tokenizer.encoding import WithEncoding
from gputok.tokenizer.training import WithTraining
from gputok.tokenizer.vocabulary import WithVocabulary

if TYPE_CHECKING:
    from gputok.locations import StorageOptions


class Tokenizer(WithTraining, WithEncoding, WithVocabulary):
    """Text to tokens and back, in steps that can be set one by one.

    1. The `normalizer` changes the text. 2. The `pre_tokenizer` cuts it into words. 3. The `model` makes tokens of
    each word. 4. The `post_processor` adds special tokens. The `decoder` makes text of tokens again. All but the
    model may be None. Added tokens are cut out before the text is normalized, or before it is pre-tokenized.

    >>> from gputok import models, pre_tokenizers, trainers
    >>> tokenizer = Tokenizer(models.BPE())
    >>> tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    >>> tokenizer.train_from_iterator(["low lower lowest"] * 9, trainers.BpeTrainer(vocab_size=14))
    >>> tokenizer.encode("lower low").tokens
    ['low', 'e', 'r', 'Ġlow']
    """

    @staticmethod
    def from_file(path: str, *, storage_options: StorageOptions = None) -> Tokenizer:
        """Reads a tokenizer.json; `path` may be a URL (`gputok.locations`)."""
        from gputok.locations import read_bytes

        raw = read_bytes(path, storage_options)
        return serialization.read_tokenizer(serialization.read_json(raw, str(path)), str(path))

    @staticmethod
    def from_str(json: str) -> Tokenizer:
        """From the contents of a tokenizer.json."""
        if not isinstance(json, str):
            raise TypeError(f"json: '{type(json).__name__}' object is not an instance of 'str'")
        return serialization.read_tokenizer(serialization.read_json(json, "this string"), "this string")

    @staticmethod
    def from_buffer(buffer: bytes) -> Tokenizer:
        """From the bytes of a tokenizer.json."""
        if not isinstance(buffer, bytes):
            raise TypeError(f"buffer: '{type(buffer).__name__}' object is not an instance of 'bytes'")
        return serialization.read_tokenizer(serialization.read_json(buffer, "this buffer"), "this buffer")

    @staticmethod
    def from_pretrained(identifier: str, revision: str = "main", token: str | None = None) -> Tokenizer:
        """The tokenizer.json of a model on the Hugging Face Hub; needs `huggingface_hub`."""
        try:
            from huggingface_hub import hf_hub_download
        except ImportError:
            raise ImportError("from_pretrained needs huggingface_hub: pip install 'gputok[hub]'") from None
        return Tokenizer.from_file(
            hf_hub_download(identifier, "tokenizer.json", revision=revision, token=token)
        )

    def to_str(self, pretty: bool = False) -> str:
        """The contents of a tokenizer.json, byte for byte as the namesake writes it."""
        return b"".join(serialization.tokenizer_json(self, pretty)).decode()

    def save(self, path: str, pretty: bool = True, *, storage_options: StorageOptions = None) -> None:
        """Writes a tokenizer.json, which is there whole or not at all; `path` may be a URL (`gputok.locations`)."""
        from gputok.locations import writing

        with writing(path, storage_options) as beside, open(beside, "wb") as file:
            file.writelines(serialization.tokenizer_json(self, pretty))

    def __getstate__(self) -> bytes:
        return b"".join(serialization.tokenizer_json(self, pretty=False))

    def __setstate__(self, state: bytes) -> None:
        self.__dict__.update(Tokenizer.from_buffer(state).__dict__)

    def __repr__(self) -> str:
        return serialization.shown(self, brief=False)

    def __str__(self) -> str:
        return serialization.shown(self, brief=True)
