"""What `transformers.PreTrainedTokenizerFast` has besides, for programs that ask for it."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gputok.pretrained.chat import write_templates
from gputok.pretrained.ids import TokenIds, without_spaces
from gputok.pretrained.special_tokens import NAMES
from gputok.tokens.added_token import AddedToken

if TYPE_CHECKING:
    import os

    from gputok.decoders import Decoder


_VOCABULARIES = "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "tiktoken.model", "tekken.json"


class UpstreamNames(TokenIds):
    """Attributes and methods under the names of `transformers` that few programs need."""

    SPECIAL_TOKENS_ATTRIBUTES: tuple[str, ...] = NAMES
    vocab_files_names: Mapping[str, str] = {"tokenizer_file": "tokenizer.json", "vocab_file": "tokenizer.model"}
    pretrained_vocab_files_map: Mapping[str, Mapping[str, str]] = {}
    slow_tokenizer_class = None
    model = None
    """None, as there: the model that makes tokens is `backend_tokenizer.model`."""
    backend = "tokenizers"
    can_save_slow_tokenizer = False
    verbose = False
    add_prefix_space = False
    """The value that was set; False if none was set, also if the steps of the tokenizer.json add a space."""
    clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output = False
    name_or_path: str
    padding_side: str = "right"
    truncation_side: str = "right"
    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012  # as there; each object has its own
    response_template: Any
    chat_template: Any

    @property
    def init_inputs(self) -> tuple[()]:
        """Empty: there are no arguments without names to keep."""
        return ()

    @property
    def files_loaded(self) -> list[str]:
        """Empty: what was read is not kept."""
        return []

    @property
    def vocab_file(self) -> str | None:
        """The older file of the vocabulary in the folder that the tokenizer was opened from; None if there is none."""
        found = (pathlib.Path(self.name_or_path, name) for name in _VOCABULARIES)
        return next((str(path) for path in found if path.is_file()), None)

    @property
    def do_lower_case(self) -> bool | None:
        """True if the normalizer lowercases text."""
        return self._of_bert("lowercase", "Lowercase")

    @property
    def strip_accents(self) -> bool | None:
        """True if the normalizer removes accents; None: if it lowercases text."""
        return self._of_bert("strip_accents", "StripAccents")

    @property
    def tokenize_chinese_chars(self) -> bool | None:
        """True if the normalizer puts spaces around Chinese characters."""
        return self._of_bert("handle_chinese_chars", "")

    def _of_bert(self, field: str, component: str) -> bool | None:
        """A field of the BertNormalizer among the steps of the normalizer, or whether `component` is one of the steps."""
        normalizer = self._tokenizer.normalizer
        steps = [normalizer] if normalizer is not None else []
        while steps:
            step = steps.pop()
            if type(step).__name__ == "BertNormalizer":
                return getattr(step, field)
            if type(step).__name__ == component:
                return True
            steps += [*getattr(step, "normalizers", ())]
        return False

    @classmethod
    def register_for_auto_class(cls, auto_class: Any = "AutoTokenizer") -> None:
        """Raises NotImplementedError: it is for classes whose code is to be saved beside the files.

        Args:
            auto_class: the class of `transformers` that is to find the code.
        """
        raise NotImplementedError(
            f"register_for_auto_class({auto_class!r}): gputok saves no code; the files of save_pretrained open in "
            "transformers, and tokenizer.to_transformers() gives an object of its class"
        )

    @classmethod
    def convert_to_native_format(cls, trust_remote_code: bool = False, **kwargs: Any) -> dict[str, Any]:
        """Raises NotImplementedError: in `transformers`, it is the step of from_pretrained that builds the backend.

        Args:
            trust_remote_code: as there.
            kwargs: as there.
        """
        raise NotImplementedError(
            "convert_to_native_format: gputok opens files by AutoTokenizer.from_pretrained, which has no such step"
        )

    def save_chat_templates(
        self,
        save_directory: str | os.PathLike[str],
        tokenizer_config: dict[str, Any],
        filename_prefix: str | None,
        save_jinja_files: bool,
    ) -> tuple[dict[str, Any], list[str]]:
        """Writes the chat templates as files, or puts them into the settings.

        Args:
            save_directory: an existing folder.
            tokenizer_config: the settings, which are changed.
            filename_prefix: put before the names of the files, with a `-`.
            save_jinja_files: True for files, False for the settings.

        Returns:
            The settings, and the paths of the files.

        Raises:
            ValueError: if the name of a template cannot be the name of a file.
        """
        template: str | dict[str, str] | None = self.chat_template
        if template is None:
            return tokenizer_config, []
        if not save_jinja_files:
            listed = (
                template
                if isinstance(template, str)
                else [{"name": name, "template": text} for name, text in template.items()]
            )
            return {**tokenizer_config, "chat_template": listed}, []
        tokenizer_config.pop("chat_template", None)
        return tokenizer_config, write_templates(pathlib.Path(save_directory), template, filename_prefix)

    @property
    def decoder(self) -> Decoder | None:
        """The decoder of the tokenizer."""
        return self._tokenizer.decoder

    @staticmethod
    def clean_up_tokenization(text: str) -> str:
        """Removes the spaces before punctuation and English contractions.

        >>> UpstreamNames.clean_up_tokenization("it is n't so , is it ?")
        "it isn't so, is it?"
        """
        return without_spaces(text)

    @classmethod
    def convert_added_tokens(cls, obj: Any, save: bool = False, add_type_field: bool = True) -> Any:
        """Makes AddedTokens of the JSON forms inside of `obj`, or with `save` JSON forms of AddedTokens.

        Args:
            obj: lists and dicts with tokens somewhere in them.
            save: from AddedToken to JSON.
            add_type_field: marks the JSON form with `"__type": "AddedToken"`; without it, `special` is left out.
        """
        if isinstance(obj, Mapping) and obj.get("__type") == "AddedToken":
            return AddedToken(**{key: value for key, value in obj.items() if key != "__type"})
        token = AddedToken.adopt(obj) if save else None
        if isinstance(token, AddedToken):
            form = token.to_dict()
            if add_type_field:
                return {**form, "__type": "AddedToken"}
            del form["special"]
            return form
        if isinstance(obj, list | tuple):
            return [cls.convert_added_tokens(one, save, add_type_field) for one in obj]
        if isinstance(obj, Mapping):
            return {key: cls.convert_added_tokens(one, save, add_type_field) for key, one in obj.items()}
        return obj

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Writes the files of the model alone, such as vocab.json and merges.txt.

        Args:
            save_directory: a folder, made if it does not exist.
            filename_prefix: put before the names of the files, with a `-`.

        Returns:
            The paths of the files.
        """
        pathlib.Path(save_directory).mkdir(parents=True, exist_ok=True)
        return tuple(self._tokenizer.model.save(str(save_directory), filename_prefix))

    def set_truncation_and_padding(
        self,
        padding_strategy: Any,
        truncation_strategy: Any,
        max_length: int | None,
        stride: int,
        pad_to_multiple_of: int | None,
        padding_side: str | None,
    ) -> None:
        """Sets the limits of `backend_tokenizer`. Calls of this object have their own, and leave these as they are.

        Args:
            padding_strategy: "longest", "max_length" or "do_not_pad", or the enumeration of `transformers`.
            truncation_strategy: "longest_first", "only_first", "only_second" or "do_not_truncate".
            max_length: tokens, for truncation and for padding to "max_length".
            stride: tokens that each further part of a text repeats.
            pad_to_multiple_of: makes lengths a multiple of this.
            padding_side: "right" or "left"; None: that of the attribute.
        """
        padding, truncation = (getattr(one, "value", one) for one in (padding_strategy, truncation_strategy))
        backend = self._tokenizer
        if truncation == "do_not_truncate":
            backend.no_truncation()
        elif max_length is not None:
            backend.enable_truncation(max_length, stride, truncation, self.truncation_side)
        if padding == "do_not_pad":
            backend.no_padding()
        else:
            backend.enable_padding(
                direction=padding_side or self.padding_side,
                pad_id=self.pad_token_id,
                pad_type_id=self.pad_token_type_id,
                pad_token=self.pad_token,
                length=max_length if padding == "max_length" else None,
                pad_to_multiple_of=pad_to_multiple_of,
            )

    pad_token_type_id: int

    def encode_message_with_chat_template(
        self, message: dict[str, Any], conversation_history: list[dict[str, Any]] | None = None, **options: Any
    ) -> list[int]:
        """The ids that a message adds to a conversation: all from the first id that differs without the message.

        Args:
            message: the message.
            conversation_history: the messages before it.
            options: those of `apply_chat_template`, except `add_generation_prompt`.

        Raises:
            ValueError: if `add_generation_prompt` is passed, which is no part of a message.
        """
        if "add_generation_prompt" in options:
            raise ValueError("add_generation_prompt is no part of a message; encode it separately")
        history = list(conversation_history or [])
        options = {**options, "return_dict": False}
        ids = self.apply_chat_template([*history, message], **options)
        before = self.apply_chat_template(history, **options) if history else []
        same = next((i for i, (a, b) in enumerate(zip(before, ids, strict=False)) if a != b), None)
        return ids[min(len(before), len(ids)) if same is None else same :]

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any:
        """See `PreTrainedTokenizer.apply_chat_template`."""
        raise NotImplementedError

    def parse_response(
        self, response: Any, schema: dict[str, Any] | None = None, *, prefix: Any = None, tools: Any = None
    ) -> Any:
        """Reads what a model wrote, by a response template, back into messages; needs `transformers`.

        Args:
            response: a text, ids, or a batch of either: what was generated, without the prompt.
            schema: the response template, by default `response_template`.
            prefix: the prompt, since templates often begin the answer; "" if there was none.
            tools: as for `apply_chat_template`, so that arguments of calls get their types.

        Returns:
            A message (a dict), or a list of them for a batch.

        Raises:
            AttributeError: if there is no response template.
            ValueError: if `prefix` is left out, or a batch has another number of prefixes.
        """
        template = self._response_template(schema)
        if prefix is None:
            raise ValueError(
                'parse_response needs prefix=, the prompt, which often begins the answer; pass "" if there was none'
            )
        responses, is_batch = self._texts(response)
        prefixes, has_many = self._texts(prefix)
        prefixes = prefixes if has_many and prefixes else (prefixes or [""]) * len(responses)
        if len(prefixes) != len(responses):
            raise ValueError(f"{len(responses)} responses, but {len(prefixes)} prefixes: pass one, or one for each")
        parse = _chat_parsing().parse_response
        parsed = [
            parse(text, template, prefix=before, tools=tools) for text, before in zip(responses, prefixes, strict=True)
        ]
        return parsed if is_batch else parsed[0]

    def get_response_parser(
        self, response_template: dict[str, Any] | None = None, *, prefix: Any = None, tools: Any = None
    ) -> Any:
        """A parser for a response that arrives piece by piece: `ResponseParser` of `transformers`, which it needs.

        Args:
            response_template: by default that of this object.
            prefix: the prompt, as text or ids; "" if there was none.
            tools: as for `apply_chat_template`.
        """
        template = self._response_template(response_template)
        if prefix is not None and not isinstance(prefix, str):
            prefix = self.decode(prefix)
        return _chat_parsing().ResponseParser(template, prefix=prefix, tools=tools)

    def _response_template(self, given: dict[str, Any] | None) -> dict[str, Any]:
        template = self.response_template if given is None else given
        if template is None:
            raise AttributeError("this tokenizer has no response_template: set it, or pass one")
        return template

    def _texts(self, value: Any) -> tuple[list[str], bool]:
        """Texts or ids as a list of texts, and whether they were a batch."""
        if isinstance(value, str):
            return [value], False
        if isinstance(value, list | tuple) and (not value or isinstance(value[0], str)):
            return list(value), True
        texts = self.decode(value)
        return ([texts], False) if isinstance(texts, str) else (texts, True)


def _chat_parsing() -> Any:
    try:
        from transformers.utils import chat_parsing
    except ImportError:
        raise ImportError("reading responses needs transformers: pip install 'gputok[transformers]'") from None
    return chat_parsing
