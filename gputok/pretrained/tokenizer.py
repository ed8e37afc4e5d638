"""A tokenizer with what a model needs to know about it: the front that users of `transformers` know."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import inspect
import os
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from gputok.encoding.encoding import Encoding
from gputok.pipeline import encode_batch
from gputok.pipeline.encode_text import encode_all
from gputok.pipeline.limits import Padding, Truncation
from gputok.pretrained import calls
from gputok.pretrained.batch import BatchEncoding, pad_columns
from gputok.pretrained.ids import TokenIds
from gputok.pretrained.options import DEFAULTS, names_token
from gputok.pretrained.special_tokens import NAMES, Token, as_token
from gputok.pretrained.steps import STEPS, set_step
from gputok.tokenizer import Tokenizer
from gputok.types import public

if TYPE_CHECKING:
    from gputok.pipeline.pipeline import Pipeline
    from gputok.report import Report


@public("gputok")
class PreTrainedTokenizer(TokenIds):
    """A `Tokenizer` with named special tokens, the sides and lengths that its model wants, and its chat template.

    tokenizer_object: the tokenizer. tokenizer_file: or the path of its tokenizer.json.
    options: what tokenizer_config.json holds: `bos_token`, `eos_token`, `unk_token`, `sep_token`, `pad_token`,
    `cls_token`, `mask_token` and others that end in `_token`; `extra_special_tokens`; `model_max_length` (tokens);
    `padding_side` and `truncation_side` ("right", "left"); `model_input_names`, the columns that a call gives;
    `clean_up_tokenization_spaces`; `split_special_tokens`; `chat_template`. And what changes the steps, as the classes of
    `transformers` build them: `add_prefix_space`, `do_lower_case`, `strip_accents`, `tokenize_chinese_chars`,
    `trim_offsets`, `legacy` (of Llama and T5: True puts a space before each text between special tokens, not only before
    the first); `add_bos_token` and `add_eos_token`, which put a post-processor in place that adds these and no other tokens.
    These can be set later, too; None leaves the steps as they are.
    init_kwargs: what a tokenizer_config.json holds beside; it is kept and saved, and changes nothing.

    Raises TypeError for an option that isn't known, ValueError for one that the steps of this tokenizer can't follow.

    The tokenizer.json is taken as it is. `transformers` 5 builds the steps of some classes (`LlamaTokenizer`, ...) anew
    from the vocabulary instead; saved folders name the class that does not, so that they work there as here.

    >>> from gputok import Tokenizer, models, pre_tokenizers
    >>> words = Tokenizer(models.WordLevel({"<pad>": 0, "so": 1, "it": 2, "goes": 3}, unk_token="<pad>"))
    >>> words.pre_tokenizer = pre_tokenizers.Whitespace()
    >>> tokenizer = PreTrainedTokenizer(words, pad_token="<pad>")
    >>> tokenizer(["so it goes", "so"], padding=True)["input_ids"]
    [[1, 2, 3], [1, 0, 0]]
    >>> tokenizer("so it goes", return_offsets_mapping=True).offset_mapping
    [(0, 2), (3, 5), (6, 10)]
    """

    pad_token_type_id = 0
    _add_bos_token = _add_eos_token = False

    def __init__(
        self,
        tokenizer_object: Tokenizer | None = None,
        *,
        tokenizer_file: str | os.PathLike[str] | None = None,
        name_or_path: str = "",
        init_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        if (tokenizer_object is None) == (tokenizer_file is None):
            raise TypeError("pass a gputok Tokenizer, or tokenizer_file=")
        if tokenizer_object is None:
            tokenizer_object = Tokenizer.from_file(os.fspath(tokenizer_file))
        if not isinstance(tokenizer_object, Tokenizer):
            raise TypeError(f"tokenizer_object must be a gputok Tokenizer, not {tokenizer_object!r}")
        self._tokenizer = tokenizer_object
        self.name_or_path = name_or_path
        self.deprecation_warnings: dict[str, bool] = {}  # data collators set one
        if truncation := tokenizer_object.truncation:
            options.setdefault("truncation_side", truncation["direction"])
        if padding := tokenizer_object.padding:
            options = {"pad_token": padding["pad_token"], "padding_side": padding["direction"], **options}

        extra = options.pop("additional_special_tokens", None)
        extra = options.pop("extra_special_tokens", None) or extra or []
        own = {key: options.pop(key) for key in list(options) if names_token(key, options[key])}
        own |= options.pop("model_specific_special_tokens", None) or {}
        if isinstance(extra, Mapping):
            own, extra = own | extra, []
        self._name_tokens({**dict.fromkeys(NAMES), **own}, extra)

        for name, default in DEFAULTS.items():
            value = options.pop(name, None)
            setattr(self, name, copy.copy(default) if value is None else value)
        for side in ("padding_side", "truncation_side"):
            _check_side(getattr(self, side), side)
        template = options.pop("chat_template", None)
        if isinstance(template, list):  # an old form
            template = {one["name"]: one["template"] for one in template}
        self.chat_template: str | dict[str, str] | None = template
        self.init_kwargs = dict(init_kwargs or {})
        self._set_steps(options)

    def _set_steps(self, options: dict[str, Any]) -> None:
        known = (*STEPS, "add_bos_token", "add_eos_token")
        if unknown := next((name for name in options if name not in known), None):
            raise TypeError(unknown_option(unknown))
        for name in STEPS:
            if options.get(name) is not None:
                setattr(self, name, options[name])
        if any(options.get(name) is not None for name in ("add_bos_token", "add_eos_token")):
            self._add_ends(bool(options.get("add_bos_token")), bool(options.get("add_eos_token")))

    def __setattr__(self, name: str, value: Any) -> None:
        if name in STEPS:
            set_step(self._tokenizer, name, value)
            self.init_kwargs[name] = value
        super().__setattr__(name, value)

    @property
    def add_bos_token(self) -> bool:
        """Whether each text begins with `bos_token` by `update_post_processor`; setting it calls that.

        As in `transformers`, False where a post-processor of the tokenizer.json does it.
        """
        return self._add_bos_token

    @add_bos_token.setter
    def add_bos_token(self, value: bool) -> None:
        self._add_ends(bool(value), self._add_eos_token)

    @property
    def add_eos_token(self) -> bool:
        """The same for `eos_token` at the end of each text."""
        return self._add_eos_token

    @add_eos_token.setter
    def add_eos_token(self, value: bool) -> None:
        self._add_ends(self._add_bos_token, bool(value))

    def _add_ends(self, bos: bool, eos: bool) -> None:
        for name, wanted in (("bos_token", bos), ("eos_token", eos)):
            if wanted and getattr(self, f"{name}_id") is None:
                raise ValueError(
                    f"add_{name}=True: this tokenizer has no {name} in its vocabulary; set {name} first"
                )
        self._add_bos_token, self._add_eos_token = bos, eos
        self.update_post_processor()

    def update_post_processor(self) -> None:
        """Puts a post-processor in place that adds `bos_token` and `eos_token`, as `add_bos_token` and `add_eos_token` say.

        To be called after one of these tokens was changed.
        """
        from gputok.processors import TemplateProcessing

        before = [self.bos_token] if self._add_bos_token else []
        behind = [self.eos_token] if self._add_eos_token else []
        single, second = (
            " ".join(f"{piece}:{i}" for piece in (*before, text, *behind))
            for i, text in enumerate(("$A", "$B"))
        )
        ids = [(token, self.convert_tokens_to_ids(token)) for token in (*before, *behind)]
        self._tokenizer.post_processor = TemplateProcessing(single, f"{single} {second}", ids)

    # -- what it is

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The tokenizer itself; what is changed there changes here."""
        return self._tokenizer

    @property
    def is_fast(self) -> bool:
        """Always True: it knows offsets."""
        return True

    def __bool__(self) -> bool:
        return True  # however many tokens there are

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens are added to a text, or to a pair."""
        return self._tokenizer.num_special_tokens_to_add(pair)

    @property
    def max_len_single_sentence(self) -> int:
        """The most tokens of a text that the model takes, without special tokens."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=False)

    @property
    def max_len_sentences_pair(self) -> int:
        """The same for both texts of a pair together."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name_or_path={self.name_or_path!r}, vocab_size={self.vocab_size}, "
            f"model_max_length={self.model_max_length}, padding_side={self.padding_side!r}, "
            f"truncation_side={self.truncation_side!r}, special_tokens={self.special_tokens_map}, "
            f"extra_special_tokens={self.extra_special_tokens})"
        )

    # -- text to tokens

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        text_target: Any = None,
        text_pair_target: Any = None,
        add_special_tokens: bool = True,
        padding: bool | str | None = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        *,
        split_special_tokens: bool | None = None,
        max_target_length: int | None = None,
    ) -> BatchEncoding:
        """The columns of a text, or of a batch of texts, as a model takes them.

        text, text_pair: a string or a list of them; with `is_split_into_words` lists of words. A batch may also be a
        list of (text, pair) tuples. text_target, text_pair_target: what becomes the column `labels`.
        padding: True or "longest", "max_length", or False. truncation: True or "longest_first", "only_first",
        "only_second", or False. max_length: in tokens, special ones included; by default `model_max_length`.
        stride: how many tokens each further part of a text that was cut repeats, with `return_overflowing_tokens`.
        return_tensors: "np", "pt" or "cupy" for arrays of int64[texts, tokens]; None for lists.

        Raises TypeError and ValueError for what is no text, and ValueError where texts of different lengths are to be
        one array, or padding is asked for and there is no `pad_token`.
        """
        if text is None and text_target is None:
            raise ValueError("pass a text, a list of texts, or text_target=")
        for name, second, first in (
            ("text", text_pair, text),
            ("text_target", text_pair_target, text_target),
        ):
            if second is not None and first is None:
                raise ValueError(
                    f"{name.replace('text', 'text_pair', 1)} is the second of a pair: pass {name}, too"
                )
        _check_side(padding_side)
        limits = self._limits(padding, truncation, max_length, pad_to_multiple_of)
        options = {
            "add_special_tokens": add_special_tokens,
            "stride": stride,
            "is_split_into_words": is_split_into_words,
            "pad_to_multiple_of": pad_to_multiple_of,
            "padding_side": padding_side,
            "return_tensors": return_tensors,
            "return_overflowing_tokens": return_overflowing_tokens,
            "split_special_tokens": split_special_tokens,
            "columns": calls.columns(
                self.model_input_names,
                return_tensors is not None,
                token_type_ids=return_token_type_ids,
                attention_mask=return_attention_mask,
                special_tokens_mask=return_special_tokens_mask,
                offset_mapping=return_offsets_mapping,
                length=return_length,
            ),
            "verbose": verbose,
        }
        if text is not None:
            batch = self._encode(text, text_pair, limits, **options)
        if text_target is not None:
            if max_target_length is not None:
                limits = limits._replace(max_length=max_target_length)
            target = self._encode(text_target, text_pair_target, limits, **options)
            if text is None:
                return target
            batch["labels"] = target["input_ids"]
        return batch

    def _limits(
        self, padding: Any, truncation: Any, max_length: int | None, pad_to_multiple_of: int | None = None
    ) -> calls.Limits:
        found = calls.limits(padding, truncation, max_length, self.model_max_length, pad_to_multiple_of)
        if found.padding != "do_not_pad" and self.pad_token_id is None:
            raise ValueError(
                "there is no padding token to pad with: set one that is in the vocabulary "
                "(tokenizer.pad_token = tokenizer.eos_token) or add one "
                "(tokenizer.add_special_tokens({'pad_token': '[PAD]'}))"
            )
        return found

    def _encode(
        self,
        text: Any,
        pair: Any,
        limits: calls.Limits,
        *,
        add_special_tokens: bool,
        stride: int,
        is_split_into_words: bool,
        pad_to_multiple_of: int | None,
        padding_side: str | None,
        return_tensors: str | None,
        return_overflowing_tokens: bool,
        split_special_tokens: bool | None,
        columns: dict[str, Any],
        verbose: bool,
    ) -> BatchEncoding:
        inputs, is_batch = calls.inputs(text, pair, is_split_into_words)
        split = self.split_special_tokens if split_special_tokens is None else split_special_tokens
        steps = self._limited(limits, stride, pad_to_multiple_of, padding_side, split)
        whole = None if is_split_into_words else encode_all(steps, inputs, add_special_tokens)
        if whole is None:
            checked = encode_batch.check_inputs(inputs, is_split_into_words)
            whole = encode_batch.encode(steps, checked, is_split_into_words, add_special_tokens, offsets=True)
        groups = [[one, *one.overflowing] if return_overflowing_tokens else [one] for one in whole]
        encodings = [encoding for group in groups for encoding in group]
        if verbose and limits.max_length is None:
            self._warn_of_length(encodings)

        data = {name: [read(encoding) for encoding in encodings] for name, read in columns.items()}
        if return_overflowing_tokens:
            data["overflow_to_sample_mapping"] = [i for i, group in enumerate(groups) for _ in group]
        if not is_batch and return_tensors is None and not return_overflowing_tokens:
            data = {name: column if name == "length" else column[0] for name, column in data.items()}
        return BatchEncoding(data, encodings, return_tensors)

    def _limited(
        self,
        limits: calls.Limits,
        stride: int,
        pad_to_multiple_of: int | None,
        padding_side: str | None,
        split_special_tokens: bool,
    ) -> Pipeline:
        """The tokenizer's steps with limits for one call, so that calls on several threads don't meet, nor change what is saved."""
        side = padding_side or self.padding_side
        padding = self.pad_token_id, self.pad_token_type_id, self.pad_token, side, pad_to_multiple_of
        key = (
            limits,
            stride,
            split_special_tokens,
            self.truncation_side if limits.truncation != "do_not_truncate" else None,
            padding if limits.padding != "do_not_pad" else None,
        )
        return self._tokenizer.pipeline.variant(
            key,
            lambda steps: self._with_limits(
                steps, limits, stride, pad_to_multiple_of, side, split_special_tokens
            ),
        )

    def _with_limits(
        self,
        steps: Pipeline,
        limits: calls.Limits,
        stride: int,
        pad_to_multiple_of: int | None,
        padding_side: str,
        split_special_tokens: bool,
    ) -> Pipeline:
        """The same steps with these limits."""
        added = steps.added
        if added.encode_special_tokens != split_special_tokens:
            added = added.encoding_special_tokens(split_special_tokens)
        padded = None
        if limits.padding != "do_not_pad":
            padded = Padding(
                direction=padding_side,
                pad_id=self.pad_token_id,
                pad_type_id=self.pad_token_type_id,
                pad_token=self.pad_token,
                length=limits.max_length if limits.padding == "max_length" else None,
                pad_to_multiple_of=pad_to_multiple_of,
            )
        steps = dataclasses.replace(steps, added=added, truncation=None, padding=padded)
        if limits.truncation == "do_not_truncate":
            return steps
        cut = Truncation(limits.max_length, stride, limits.truncation, self.truncation_side)
        return steps.with_truncation(cut)

    def _warn_of_length(self, encodings: list[Encoding]) -> None:
        longest = max(map(len, encodings), default=0)
        if longest > self.model_max_length > 0 and not self.deprecation_warnings.get("too-long"):
            warnings.warn(
                f"a text has {longest} tokens, more than the {self.model_max_length} that the model takes; pass "
                "truncation=True",
                stacklevel=4,
            )
            self.deprecation_warnings["too-long"] = True

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **options: Any
    ) -> list[str]:
        """The tokens of a text as strings; options are those of a call."""
        return self(text, pair, add_special_tokens=add_special_tokens, **options).tokens()

    def encode(
        self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, **options: Any
    ) -> list[int]:
        """The ids of a text; options are those of a call."""
        return self(text, text_pair, add_special_tokens=add_special_tokens, **options)["input_ids"]

    def pad(
        self,
        encoded_inputs: Any,
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Fills what was encoded before to one length, as a data collator does.

        encoded_inputs: the columns of a text or of a batch, or a list of texts' columns. `input_ids`,
        `attention_mask` (made where it is missing), `token_type_ids` and `special_tokens_mask` are filled; other columns stay.
        """
        if (
            isinstance(encoded_inputs, list | tuple)
            and encoded_inputs
            and isinstance(encoded_inputs[0], Mapping)
        ):
            encoded_inputs = {key: [one[key] for one in encoded_inputs] for key in encoded_inputs[0]}
        columns = dict(encoded_inputs)
        main = self.model_input_names[0]
        if main not in columns:
            raise ValueError(f"there must be a column {main!r} to pad, but there are only {list(columns)}")
        if columns[main] is None or len(columns[main]) == 0:
            return BatchEncoding(columns | ({"attention_mask": []} if return_attention_mask else {}))
        kind = calls.kind(columns[main])
        columns = {name: calls.plain(column) for name, column in columns.items()}
        is_batch = isinstance(columns[main][0], list | tuple)
        if not is_batch:
            columns = {name: [column] for name, column in columns.items()}
        if wrong := {
            name: len(column) for name, column in columns.items() if len(column) != len(columns[main])
        }:
            raise ValueError(f"{main!r} has {len(columns[main])} texts, but other columns have {wrong}")

        _check_side(padding_side)
        limits = self._limits(padding, None if padding else False, max_length)
        lengths = [len(row) for row in columns[main]]
        if return_attention_mask or (
            return_attention_mask is None and "attention_mask" in self.model_input_names
        ):
            columns.setdefault("attention_mask", [[1] * n for n in lengths])
        if limits.padding != "do_not_pad":
            length = max(lengths) if limits.padding == "longest" else limits.max_length
            length += -length % (pad_to_multiple_of or 1)
            masked = {"attention_mask": 0} if return_attention_mask is not False else {}
            fill = {
                main: self.pad_token_id,
                "token_type_ids": self.pad_token_type_id,
                "special_tokens_mask": 1,
            }
            pad_columns(columns, lengths, length, padding_side or self.padding_side, fill | masked)
        if not is_batch:
            columns = {name: column[0] for name, column in columns.items()}
        return BatchEncoding(columns, tensor_type=return_tensors or kind)

    # -- chats

    def apply_chat_template(
        self,
        conversation: Any,
        tools: list[dict[str, Any]] | None = None,
        documents: list[dict[str, str]] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool | str = False,
        tokenize: bool = True,
        padding: bool | str = False,
        truncation: bool = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        return_dict: bool = True,
        return_assistant_tokens_mask: bool = False,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
        **variables: Any,
    ) -> Any:
        """A conversation as the text that its model was taught to expect, and the columns of that text.

        conversation: messages, each `{"role": ..., "content": ...}`, or a list of conversations.
        tools: JSON schemas of functions. chat_template: a Jinja template, or the name of one of several.
        add_generation_prompt: ends where the model's answer begins. continue_final_message: ends where the last message
        does (or its field of this name), for the model to go on. return_assistant_tokens_mask: one more column,
        `assistant_masks`, 1 for each token that has characters of what the template puts between `{% generation %}` and
        `{% endgeneration %}`. variables: more of them for the template. The rest is as in a call; without `tokenize` it
        gives the text, without `return_dict` only the ids. Needs the package jinja2.

        Raises ValueError for options that don't go together and what is no conversation, TypeError for an option of a call
        among the variables.
        """
        from gputok.pretrained.chat import mask, render, render_marked

        template = self.get_chat_template(chat_template, tools)
        _check_variables(variables, template)
        if return_assistant_tokens_mask and not (tokenize and return_dict):
            raise ValueError("return_assistant_tokens_mask=True needs tokenize=True and return_dict=True")
        if return_assistant_tokens_mask and continue_final_message:
            raise ValueError("return_assistant_tokens_mask=True and continue_final_message don't go together")
        if wrong := next((tool for tool in tools or () if not isinstance(tool, Mapping)), None):
            raise ValueError(f"tools must be JSON schemas of functions (dicts), not {wrong!r}")

        is_batch = bool(conversation) and isinstance(conversation[0], list | tuple)
        conversations = conversation if is_batch else [conversation]
        given = {"add_generation_prompt": add_generation_prompt, "tools": tools, "documents": documents}
        variables = {**self.special_tokens_map, **variables, **given}
        spans: list[list[tuple[int, int]]] = []
        if return_assistant_tokens_mask:
            texts, spans = render_marked(template, conversations, **variables)
        else:
            texts = render(
                template, conversations, continue_final_message=continue_final_message, **variables
            )
        if not tokenize:
            return texts if is_batch else texts[0]
        batch = self(
            texts if is_batch else texts[0],
            add_special_tokens=False,
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            return_tensors=return_tensors,
            **(tokenizer_kwargs or {}),
        )
        if return_assistant_tokens_mask:
            encodings = batch.encodings or []
            samples = batch.get("overflow_to_sample_mapping")
            texts_of = range(len(encodings)) if samples is None else samples
            masks = [mask(one.offsets, spans[i]) for one, i in zip(encodings, texts_of, strict=True)]
            is_flat = not is_batch and return_tensors is None and samples is None
            batch["assistant_masks"] = masks[0] if is_flat else masks
            batch.convert_to_tensors(return_tensors)
        return batch if return_dict else batch["input_ids"]

    def get_chat_template(self, chat_template: str | None = None, tools: Any = None) -> str:
        """The Jinja template that `apply_chat_template` takes for these arguments."""
        known = self.chat_template
        if isinstance(known, dict):
            name = chat_template or ("tool_use" if tools is not None and "tool_use" in known else "default")
            if name in known:
                return known[name]
            if chat_template is None:
                raise ValueError(
                    f"there is no default chat template; pass chat_template=, one of {sorted(known)}"
                )
        template = chat_template or known
        if template is None:
            raise ValueError("this tokenizer has no chat_template: set it, or pass chat_template=")
        return template

    # -- training and files

    def train_new_from_iterator(
        self,
        text_iterator: Iterable[Any],
        vocab_size: int,
        length: int | None = None,
        new_special_tokens: Iterable[Token] | None = None,
        special_tokens_map: Mapping[str, str] | None = None,
        **options: Any,
    ) -> PreTrainedTokenizer:
        """A tokenizer of the same kind with a vocabulary of its own; see `gputok.train_new_from_iterator`.

        length: how many texts there are; nothing depends on it.
        """
        from gputok.pretrained.retrain import old_tokenizer, retrain

        new, renamed = [*(new_special_tokens or ())], dict(special_tokens_map or {})
        old = old_tokenizer(self._tokenizer)
        trained = retrain(old, text_iterator, vocab_size, new, renamed, length=length, **options)

        def current(token: Any) -> Any:
            return token and as_token(
                {**token.to_dict(), "content": renamed.get(str(token), str(token))}, "token"
            )

        special = {name: current(token) for name, token in self._named.items() if name in NAMES}
        own = {name: current(token) for name, token in self._named.items() if name not in NAMES}
        extra = [*map(current, self._extra), *new]
        attributes = {name: copy.copy(getattr(self, name)) for name in (*DEFAULTS, "chat_template")}
        new_tokenizer = type(self)(
            trained,
            name_or_path=self.name_or_path,
            init_kwargs=copy.deepcopy(self.init_kwargs),
            extra_special_tokens=extra,
            model_specific_special_tokens=own,
            **attributes,
            **special,
        )
        new_tokenizer._add_bos_token, new_tokenizer._add_eos_token = self._add_bos_token, self._add_eos_token
        return new_tokenizer

    def report(self, corpus: Any, **options: Any) -> Report:
        """Measures how the tokenizer suits a corpus, beside others if asked: see `gputok.report.report`."""
        return self._tokenizer.report(corpus, **options)

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str], **options: Any) -> PreTrainedTokenizer:
        """`AutoTokenizer.from_pretrained`."""
        from gputok.pretrained.folders import load

        return load(cls, name_or_path, **options)

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Writes tokenizer.json, tokenizer_config.json and the chat templates into a folder, made if need be.

        Returns their paths. `AutoTokenizer.from_pretrained`, here or in `transformers`, opens the folder.
        """
        from gputok.pretrained.folders import save

        return save(self._tokenizer, self._config(), self.chat_template, save_directory, filename_prefix)

    def _config(self) -> dict[str, Any]:
        """What tokenizer_config.json says of it."""
        options, special = {name: getattr(self, name) for name in DEFAULTS}, self.special_tokens_map
        config = {
            **self.init_kwargs,
            **{name: value for name, value in options.items() if value != DEFAULTS[name]},
            **special,
            "model_max_length": self.model_max_length,
        }
        if own := {name: token for name, token in special.items() if name not in NAMES}:
            config["model_specific_special_tokens"] = own
        if self.extra_special_tokens:
            config["extra_special_tokens"] = self.extra_special_tokens
        return config

    def to_transformers(self) -> Any:
        """The same as a `transformers.PreTrainedTokenizerFast`, with this very tokenizer inside; needs `transformers`."""
        return self._tokenizer.to_transformers(**self._config(), chat_template=copy.copy(self.chat_template))

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str = "Upload tokenizer",
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
    ) -> Any:
        """Sends what `save_pretrained` writes to the Hugging Face Hub, as one commit; needs `huggingface_hub`.

        repo_id: made if need be; without a user's name before it, one of yours. Returns the commit's `CommitInfo`.
        """
        from gputok.pretrained.hub import upload

        return upload(
            self.save_pretrained,
            repo_id,
            commit_message=commit_message,
            private=private,
            token=token,
            revision=revision,
            create_pr=create_pr,
        )


def _check_side(side: Any, name: str = "padding_side") -> None:
    if side not in (None, "left", "right"):
        raise ValueError(f"{name}={side!r}: must be 'left' or 'right'")


def _check_variables(variables: Mapping[str, Any], template: str) -> None:
    """An option of a call, or one that is missing here, would be a variable that nothing asks for."""
    options = inspect.signature(PreTrainedTokenizer.__call__).parameters
    for name in variables:
        if name in options and name not in template:
            raise TypeError(f"{name!r} is an option of a call: pass tokenizer_kwargs={{{name!r}: ...}}")
        if name == "sanitize_control_tokens" and variables[name]:
            raise TypeError(
                "sanitize_control_tokens=True: control tokens in messages can't be taken as text here"
            )


def unknown_option(name: str) -> str:
    """What to say of an option that nothing here takes."""
    known = [
        *NAMES,
        *DEFAULTS,
        *STEPS,
        "add_bos_token",
        "add_eos_token",
        "extra_special_tokens",
        "chat_template",
    ]
    if name in inspect.signature(PreTrainedTokenizer.__call__).parameters:
        return f"{name!r} is an option of a call: tokenizer(text, {name}=...)"
    close = difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"{name!r} is no option of a tokenizer ({meant}there are {', '.join(known)})"
