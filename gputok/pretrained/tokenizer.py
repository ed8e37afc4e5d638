"""PreTrainedTokenizer: a tokenizer with the settings of its model, as users of `transformers` know it."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gputok.checks import several, warn
from gputok.encoding.encoding import Encoding
from gputok.lazy import public, same_method
from gputok.pipeline.encode.stepwise import encode_segments
from gputok.pipeline.encode.text import encode_batch
from gputok.pipeline.limits import Padding, Truncation
from gputok.pipeline.pipeline import Pipeline
from gputok.pretrained import calls, chat
from gputok.pretrained.authored import Authored
from gputok.pretrained.batch import BatchEncoding, batch_of, pad_columns
from gputok.pretrained.folders import load, save
from gputok.pretrained.retrain import retrain
from gputok.pretrained.special_tokens import DEFAULTS, NAMES, SpecialTokens, Token, as_token, names_token
from gputok.pretrained.steps import STEPS, set_step
from gputok.processors import around
from gputok.tokenizer import Tokenizer

# Programs that do not want the warning of `_warn_of_length` set this key of `deprecation_warnings`.
_TOO_LONG = "sequence-length-is-longer-than-the-specified-maximum"
_ENDS = ("add_bos_token", "add_eos_token")


@public("gputok")
class PreTrainedTokenizer(SpecialTokens):
    """A `Tokenizer` with named special tokens, the sides and limits of its model, and its chat template.

    The steps of the tokenizer.json stay as they are. `transformers` 5 instead builds the steps of some classes, such as
    `LlamaTokenizer`, from the vocabulary; folders that are saved here name a class that does not, so they work the same
    in gputok and in `transformers`.

    Methods of the class of `transformers` that programs rarely call are missing here: `to_transformers()` makes an
    object of that class, which runs on gputok.

    Args:
        tokenizer_object: the tokenizer.
        tokenizer_file: the path of its tokenizer.json, instead of `tokenizer_object`.
        name_or_path: where the tokenizer comes from, for errors.
        init_kwargs: other settings of a tokenizer_config.json, which are kept and saved, and change nothing.
        options: settings of a tokenizer_config.json. These are attributes, and can be set later as well:

            - `bos_token`, `eos_token`, `unk_token`, `sep_token`, `pad_token`, `cls_token`, `mask_token`, and other
              names that end in `_token`; `extra_special_tokens`;
            - `model_max_length`, in tokens; `padding_side` and `truncation_side`, "right" or "left";
            - `model_input_names`, the columns that a call returns; `chat_template`; `response_template`;
            - `clean_up_tokenization_spaces`, `split_special_tokens`.

            These change the steps, as the classes of `transformers` do; None leaves the steps as they are:

            - `add_prefix_space`, `do_lower_case`, `strip_accents`, `tokenize_chinese_chars`, `trim_offsets`;
            - `legacy` (of Llama and T5): True puts a space before each text between special tokens, False only before
              the first;
            - `add_bos_token` and `add_eos_token`: replace the post-processor by one that adds only these tokens.

    Raises:
        TypeError: if an option is not known.
        ValueError: if no step of this tokenizer can do what an option asks.

    Example:
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
    padding_side: str
    truncation_side: str
    model_input_names: list[str]
    add_bos_token = add_eos_token = False
    """Whether `bos_token` is put before a text, and `eos_token` after it. To set these replaces the post-processor.

    As in `transformers`, both are False at first, even if the post-processor of the tokenizer.json adds the token.
    """

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
        if tokenizer_file is not None:
            tokenizer_object = Tokenizer.from_file(os.fspath(tokenizer_file))
        if not isinstance(tokenizer_object, Tokenizer):
            raise TypeError(f"tokenizer_object must be a gputok Tokenizer, not {tokenizer_object!r}")
        self._tokenizer = tokenizer_object
        self.name_or_path = name_or_path
        self.deprecation_warnings: dict[str, bool] = {}  # data collators set a key
        if truncation := tokenizer_object.truncation:
            options.setdefault("truncation_side", truncation["direction"])
        if padding := tokenizer_object.padding:
            options = {"pad_token": padding["pad_token"], "padding_side": padding["direction"], **options}

        extra = options.pop("additional_special_tokens", None)
        extra = options.pop("extra_special_tokens", None) or extra or []
        own = {key: options.pop(key) for key in list(options) if names_token(key, options[key])}
        own |= options.pop("model_specific_special_tokens", None) or {}
        if isinstance(extra, Mapping):
            own, extra = {**own, **extra}, []
        self._name_tokens({**dict.fromkeys(NAMES), **own}, extra)

        for name, default in DEFAULTS.items():
            value = options.pop(name, None)
            setattr(self, name, copy.copy(default) if value is None else value)
        for side in ("padding_side", "truncation_side"):
            _check_side(getattr(self, side), side)
        template = options.pop("chat_template", None)
        if isinstance(template, list):  # the form of older folders
            template = {one["name"]: one["template"] for one in template}
        self.chat_template: str | dict[str, str] | None = template
        self.init_kwargs = dict(init_kwargs or {})
        self._set_steps(options)

    def _set_steps(self, options: dict[str, Any]) -> None:
        if unknown := next((name for name in options if name not in (*STEPS, *_ENDS)), None):
            raise TypeError(unknown_option(unknown))
        for name in STEPS:
            if options.get(name) is not None:
                setattr(self, name, options[name])
        if any(options.get(name) is not None for name in _ENDS):
            self._set_ends({name: bool(options.get(name)) for name in _ENDS})

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _ENDS:
            self._set_ends({name: bool(value)})
            return
        if name in STEPS:
            set_step(self._tokenizer, name, value)
            self.init_kwargs[name] = value
        super().__setattr__(name, value)

    def _set_ends(self, ends: dict[str, bool]) -> None:
        for name, wanted in ends.items():
            end = name.removeprefix("add_")
            if wanted and getattr(self, f"{end}_id") is None:
                raise ValueError(f"{name}=True: this tokenizer has no {end} in its vocabulary; set {end} first")
        vars(self).update(ends)
        self.update_post_processor()

    def update_post_processor(self) -> None:
        """Sets a post-processor that adds what `add_bos_token` and `add_eos_token` say; call it if a token changed."""
        before = [(self.bos_token, self.bos_token_id)] if self.add_bos_token else []
        after = [(self.eos_token, self.eos_token_id)] if self.add_eos_token else []
        self._tokenizer.post_processor = around(before, after, before)

    # -- properties

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The tokenizer inside; changes of it change this object."""
        return self._tokenizer

    @property
    def is_fast(self) -> bool:
        """Always True: calls can return offsets."""
        return True

    def __bool__(self) -> bool:
        return True  # even with an empty vocabulary

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Returns how many special tokens are added to a text, or to a pair of texts."""
        return self._tokenizer.num_special_tokens_to_add(pair)

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
        """Encodes a text or a batch of texts into the columns that a model takes.

        Args:
            text: a string, or a list of strings or (text, pair) tuples; with `is_split_into_words`, lists of words.
            text_pair: the second texts of pairs, in the same form.
            text_target: texts for the column `labels`.
            text_pair_target: the second texts of pairs, for `text_target`.
            add_special_tokens: lets the post-processor add its tokens.
            padding: True or "longest", "max_length", or False.
            truncation: True or "longest_first", "only_first", "only_second", or False.
            max_length: tokens, with special tokens; None: `model_max_length`.
            stride: how many tokens each further part of a truncated text repeats, with `return_overflowing_tokens`.
            is_split_into_words: the texts are lists of words.
            pad_to_multiple_of: makes padded lengths a multiple of this number.
            padding_side: "right" or "left"; None: as the attribute says.
            return_tensors: "np", "pt" or "cupy" for arrays of int64[texts, tokens]; None for lists.
            return_token_type_ids: True or False; None: if the model takes this column.
            return_attention_mask: True or False; None: if the model takes this column.
            return_overflowing_tokens: returns the parts that truncation cuts off as further rows.
            return_special_tokens_mask: returns the column `special_tokens_mask`.
            return_offsets_mapping: returns the column `offset_mapping`, (first, last + 1) character of each token.
            return_length: returns the column `length`.
            verbose: warns, once, of a text that is longer than `model_max_length`.
            split_special_tokens: encodes special tokens in the text as ordinary text; None: as the attribute says.
            max_target_length: the `max_length` of `text_target`.

        Returns:
            The columns, with the encodings.

        Raises:
            TypeError, ValueError: an input is no text, an array has rows of different lengths, or there is no
                `pad_token`.
        """
        _check_texts(text, text_pair, text_target, text_pair_target)
        limits = self._limits(padding, truncation, max_length, pad_to_multiple_of, padding_side, stride)
        wanted = {"token_type_ids": return_token_type_ids, "attention_mask": return_attention_mask}
        wanted |= {"special_tokens_mask": return_special_tokens_mask, "offset_mapping": return_offsets_mapping}
        columns = calls.columns(self.model_input_names, return_tensors is not None, **wanted, length=return_length)

        def encoded(text: Any, pair: Any, limits: calls.Limits) -> BatchEncoding:
            inputs, is_batch = calls.inputs(text, pair, is_split_into_words)
            steps = self._limited(limits, split_special_tokens)
            whole = _encodings(steps, inputs, is_split_into_words, add_special_tokens)
            if verbose and limits.max_length is None:
                self._warn_of_length(whole)
            return batch_of(whole, columns, is_batch, return_overflowing_tokens, return_tensors)

        of_target = limits if max_target_length is None else limits._replace(max_length=max_target_length)
        if text is None:
            return encoded(text_target, text_pair_target, of_target)
        batch = encoded(text, text_pair, limits)
        if text_target is not None:
            batch["labels"] = encoded(text_target, text_pair_target, of_target)["input_ids"]
        return batch

    def _limits(
        self, padding: Any, truncation: Any, max_length: int | None, multiple: int | None, side: Any, stride: int = 0
    ) -> calls.Limits:
        _check_side(side)
        found = calls.limits(padding, truncation, max_length, self.model_max_length, multiple)
        if found.padding != "do_not_pad" and self.pad_token_id is None:
            raise ValueError(
                "padding needs a padding token: set one that is in the vocabulary (tokenizer.pad_token = "
                "tokenizer.eos_token) or add one (tokenizer.add_special_tokens({'pad_token': '[PAD]'}))"
            )
        return found._replace(stride=stride, padding_side=side or self.padding_side)

    def _limited(self, limits: calls.Limits, asked: bool | None) -> Pipeline:
        """Makes the pipeline for one call, with the limits of the call; asked: the call's `split_special_tokens`.

        The tokenizer stays as it is, so calls on several threads affect neither each other nor what is saved.
        """
        steps, _ = self._tokenizer._pipelines()
        split = self.split_special_tokens if asked is None else asked
        if steps.added.encode_special_tokens != split:
            added = steps.added.encoding_special_tokens
            steps = steps.variant(split, lambda steps: dataclasses.replace(steps, added=added(split)))
        tokens = (self._named["pad_token"], self._named["unk_token"])  # pad_token_id is the id of one of them
        key = limits, self.truncation_side, self.pad_token_type_id, *(token and token.content for token in tokens)
        return steps.variant(key, lambda steps: self._with_limits(steps, limits))

    def _with_limits(self, steps: Pipeline, limits: calls.Limits) -> Pipeline:
        """Returns the same steps with these limits."""
        padded = cut = None
        if limits.padding != "do_not_pad":
            length = limits.max_length if limits.padding == "max_length" else None
            token = self.pad_token_id, self.pad_token, self.pad_token_type_id
            padded = Padding(length, limits.pad_to_multiple_of, *token, limits.padding_side)
        if limits.truncation != "do_not_truncate" and limits.max_length is not None:
            cut = Truncation(limits.max_length, limits.stride, limits.truncation, self.truncation_side)
            steps.check_stride(cut)
        return steps.with_limits(truncation=cut, padding=padded)

    def _warn_of_length(self, encodings: list[Encoding]) -> None:
        longest = max(map(len, encodings), default=0)
        if longest > self.model_max_length > 0 and not self.deprecation_warnings.get(_TOO_LONG):
            more = f"more than the {self.model_max_length} that the model takes; pass truncation=True"
            warn(f"a text has {longest} tokens, {more}")
            self.deprecation_warnings[_TOO_LONG] = True

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **options: Any
    ) -> list[str]:
        """Returns the tokens of a text, or of a pair, as strings; options are those of a call."""
        return self(text, pair, add_special_tokens=add_special_tokens, **options).tokens()

    def encode(self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, **options: Any) -> list[int]:
        """Returns the ids of a text; options are those of a call."""
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
        """Pads encoded texts to one length, as a data collator does.

        Args:
            encoded_inputs: the columns of a text or of a batch, or a list of the columns of texts. `input_ids`,
                `attention_mask` (made if it is missing), `token_type_ids` and `special_tokens_mask` are padded; other
                columns stay as they are.
            padding: as in a call.
            max_length: the length, for `padding="max_length"`; None: `model_max_length`.
            pad_to_multiple_of: makes the length a multiple of this number.
            padding_side: "right" or "left"; None: as the attribute says.
            return_attention_mask: True or False; None: if the model takes this column.
            return_tensors: "np", "pt" or "cupy"; None: as the columns are now.
            verbose: not used.

        Returns:
            The columns.

        Raises:
            ValueError: if `input_ids` is missing, columns have different numbers of texts, or there is no `pad_token`.
        """
        if isinstance(encoded_inputs, list | tuple) and encoded_inputs and isinstance(encoded_inputs[0], Mapping):
            encoded_inputs = {key: [one[key] for one in encoded_inputs] for key in encoded_inputs[0]}
        columns, main = dict(encoded_inputs), self.model_input_names[0]
        if main not in columns:
            raise ValueError(f"expected a column {main!r} to pad, got only {list(columns)}")
        if columns[main] is None or len(columns[main]) == 0:
            return BatchEncoding(columns | ({"attention_mask": []} if return_attention_mask else {}))
        kind = calls.kind(columns[main])
        columns = {name: calls.plain(column) for name, column in columns.items()}
        is_batch = isinstance(columns[main][0], list | tuple)
        if not is_batch:
            columns = {name: [column] for name, column in columns.items()}
        if wrong := {name: len(column) for name, column in columns.items() if len(column) != len(columns[main])}:
            raise ValueError(f"{main!r} has {len(columns[main])} texts, but other columns have {wrong}")

        limits = self._limits(padding, None if padding else False, max_length, None, padding_side)
        lengths = [len(row) for row in columns[main]]
        if return_attention_mask or (return_attention_mask is None and "attention_mask" in self.model_input_names):
            columns.setdefault("attention_mask", [[1] * n for n in lengths])
        if limits.padding != "do_not_pad":
            length = max(lengths)
            if limits.padding == "max_length" and limits.max_length is not None:
                length = limits.max_length
            length += -length % (pad_to_multiple_of or 1)
            masked = {"attention_mask": 0} if return_attention_mask is not False else {}
            fill = {main: self.pad_token_id, "token_type_ids": self.pad_token_type_id, "special_tokens_mask": 1}
            pad_columns(columns, lengths, length, limits.padding_side, fill | masked)
        if not is_batch:
            columns = {name: column[0] for name, column in columns.items()}
        return BatchEncoding(columns, tensor_type=return_tensors or kind)

    # -- chats

    def apply_chat_template(
        self,
        conversation: Any,
        tools: Sequence[dict[str, Any] | Callable[..., Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
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
        protect: str | Sequence[str] | None = None,
        **variables: Any,
    ) -> Any:
        """Writes a conversation as the text that its model was trained on, and encodes this text; needs jinja2.

        Args:
            conversation: a list of messages, or a list of conversations. A message is `{"role": ..., "content": ...}`,
                a dataclass, or a model of pydantic.
            tools: JSON schemas of functions; or functions with type hints and a docstring of Google's style that
                describes their arguments, which need `transformers`.
            documents: for retrieval, each `{"title": ..., "text": ...}`.
            chat_template: a Jinja template, or the name of one of several; None: `self.chat_template`.
            add_generation_prompt: ends the text where the answer of the model begins.
            continue_final_message: ends the text where the last message ends (or its field of this name), so that the
                model continues the message.
            tokenize: False returns the text.
            padding: as in a call.
            truncation: as in a call.
            max_length: as in a call.
            return_tensors: as in a call.
            return_dict: False returns only the ids.
            return_assistant_tokens_mask: adds the column `assistant_masks`, 1 for each token with characters between
                `{% generation %}` and `{% endgeneration %}` of the template. If the template has none: 1 from the end
                of the generation prompt to the special token that ends the turn, for each message of the assistant.
            tokenizer_kwargs: more options of the call.
            protect: tokens that are found only in text of the template and in its variables for special tokens, such
                as `bos_token`: "special", "added" or a list, as for `Tokenizer.encode_segments`. In messages they are
                ordinary text, and also in text that the template makes by unusual methods of strings. A role of one
                word counts as text of the template. None: they are found in any text.
            variables: more variables for the template.

        Returns:
            The columns, or the ids, or the text; for several conversations a batch.

        Raises:
            ValueError: if options contradict each other, or an argument is not a conversation or not a tool.
            TypeError: if `variables` has an option of a call, or a document is not a dict.
            ImportError: if jinja2 is missing.
        """
        template = self.get_chat_template(chat_template, tools)
        _check_variables(variables, template)
        if protect is not None and not tokenize:
            raise ValueError("protect= needs tokenize=True: text alone does not tell which parts are trusted")
        if return_assistant_tokens_mask and (continue_final_message or not (tokenize and return_dict)):
            needs = "tokenize=True and return_dict=True, and no continue_final_message"
            raise ValueError(f"return_assistant_tokens_mask=True needs {needs}")
        if wrong := next((one for one in documents or () if not isinstance(one, Mapping)), None):
            raise TypeError(f"documents must be dicts with a title and a text, not {wrong!r}")
        is_batch = isinstance(conversation, list | tuple) and bool(conversation)
        is_batch = is_batch and (isinstance(conversation[0], list | tuple) or hasattr(conversation[0], "messages"))
        conversations = conversation if is_batch else [conversation]
        variables |= {"add_generation_prompt": add_generation_prompt, "continue_final_message": continue_final_message}
        variables |= {"tools": tools and [*map(chat.tool_schema, tools)], "documents": documents}
        texts, spans = self._rendered(template, conversations, variables, return_assistant_tokens_mask, protect)
        text = texts if is_batch else texts[0]
        if not tokenize:
            return text
        options = {"padding": padding, "truncation": truncation, "max_length": max_length, **(tokenizer_kwargs or {})}
        batch = self(text, add_special_tokens=False, return_tensors=return_tensors, **options)
        if return_assistant_tokens_mask:
            chat.add_masks(batch, spans, is_batch, return_tensors)
        return batch if return_dict else batch["input_ids"]

    def _rendered(
        self, template: str, conversations: Any, variables: dict[str, Any], masked: bool, protect: Any
    ) -> tuple[list[str], list[list[tuple[int, int]]]]:
        """Renders the text of each conversation; if `masked`, finds what the assistant wrote."""
        special = {name: token for name, token in self.special_tokens_map.items() if name not in variables}
        try:
            if not masked and protect is None:
                return chat.render(template, conversations, **special, **variables), []
            ends = self._tokenizer.pipeline.added.special if masked else None
            texts, spans = chat.render_authored(template, conversations, special, ends, **variables)
        except ValueError as error:
            if not self.name_or_path or not str(error).startswith("the chat template"):
                raise
            raise type(error)(f"{self.name_or_path}: {error}") from None
        for text in texts:
            text.protect = protect
        return [str.__str__(text) if protect is None else text for text in texts], spans

    def get_chat_template(self, chat_template: str | None = None, tools: Any = None) -> str:
        """Returns the Jinja template that `apply_chat_template` uses for these arguments."""
        known = self.chat_template
        if isinstance(known, dict):
            name = chat_template or ("tool_use" if tools is not None and "tool_use" in known else "default")
            if name in known:
                return known[name]
            if chat_template is None:
                where, which = f"{self.name_or_path}: " if self.name_or_path else "", several(sorted(known))
                raise ValueError(f"{where}there is no default chat template; pass chat_template=, one of {which}")
        template = chat_template or (known if isinstance(known, str) else None)
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
        """Trains a new vocabulary for the same steps, as `gputok.train_new_from_iterator`; `length` changes nothing."""
        new, renamed = [*(new_special_tokens or ())], dict(special_tokens_map or {})
        trained = retrain(self._tokenizer, text_iterator, vocab_size, new, renamed, length=length, **options)

        def current(token: Any) -> Any:
            return token and as_token({**token.to_dict(), "content": renamed.get(str(token), str(token))}, "token")

        special = {name: current(token) for name, token in self._named.items() if name in NAMES}
        own = {name: current(token) for name, token in self._named.items() if name not in NAMES}
        extra = [*map(current, self._extra), *new]
        given: dict[str, Any] = {name: copy.copy(getattr(self, name)) for name in (*DEFAULTS, "chat_template")}
        given |= {**special, "extra_special_tokens": extra, "model_specific_special_tokens": own}
        settings = copy.deepcopy(self.init_kwargs)
        new_tokenizer = type(self)(trained, name_or_path=self.name_or_path, init_kwargs=settings, **given)
        vars(new_tokenizer).update({name: getattr(self, name) for name in _ENDS})
        return new_tokenizer

    extend, prune = same_method(Tokenizer.extend), same_method(Tokenizer.prune)
    truncate, report = same_method(Tokenizer.truncate), same_method(Tokenizer.report)

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str], **options: Any) -> PreTrainedTokenizer:
        """`AutoTokenizer.from_pretrained`."""
        return load(cls, name_or_path, **options)

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Writes tokenizer.json, tokenizer_config.json and the chat templates into a folder.

        `AutoTokenizer.from_pretrained`, here or in `transformers`, opens the folder.

        Args:
            save_directory: the folder, made if it does not exist.
            filename_prefix: put before the names of the files, with a `-`.

        Returns:
            The paths of the files.
        """
        return save(self._tokenizer, self._config(), self.chat_template, save_directory, filename_prefix)

    def _config(self) -> dict[str, Any]:
        """Makes the content of tokenizer_config.json."""
        options, special = {name: getattr(self, name) for name in DEFAULTS}, self.special_tokens_map
        changed = {name: value for name, value in options.items() if value != DEFAULTS[name]}
        config = {**self.init_kwargs, **changed, **special, "model_max_length": self.model_max_length}
        if own := {name: token for name, token in special.items() if name not in NAMES}:
            config["model_specific_special_tokens"] = own
        if self.extra_special_tokens:
            config["extra_special_tokens"] = self.extra_special_tokens
        return config

    def to_transformers(self) -> Any:
        """Makes a `transformers.PreTrainedTokenizerFast` with the same settings and tokenizer; needs `transformers`.

        Code that asks for the class needs it: `Trainer(processing_class=...)` pads batches only for an object of this
        class, and else needs `data_collator=transformers.DataCollatorWithPadding(tokenizer)`.
        """
        return self._tokenizer.to_transformers(**self._config(), chat_template=copy.copy(self.chat_template))


def _check_texts(text: Any, pair: Any, target: Any, target_pair: Any) -> None:
    """Raises ValueError if there is nothing to encode, or a second text without the first."""
    if text is None and target is None:
        raise ValueError("pass a text, a list of texts, or text_target=")
    for name, second, first in (("text", pair, text), ("text_target", target_pair, target)):
        if second is not None and first is None:
            pair_name = name.replace("text", "text_pair", 1)
            raise ValueError(f"{pair_name} is the second text of a pair: pass {name} as well")


def _encodings(
    steps: Pipeline, inputs: list[Any], is_split_into_words: bool, add_special_tokens: bool
) -> list[Encoding]:
    if inputs and isinstance(inputs[0], Authored):
        return encode_segments(steps, [one.segments() for one in inputs], inputs[0].protect, add_special_tokens)
    return encode_batch(steps, inputs, is_split_into_words, add_special_tokens)


def _check_side(side: Any, name: str = "padding_side") -> None:
    if side not in (None, "left", "right"):
        raise ValueError(f"{name}={side!r}: must be 'left' or 'right'")


def _check_variables(variables: Mapping[str, Any], template: str) -> None:
    """Raises TypeError for a variable that is an option of a call, or of `transformers`: no template would use it."""
    options = inspect.signature(PreTrainedTokenizer.__call__).parameters
    for name in variables:
        if name in options and name not in template:
            raise TypeError(f"{name!r} is an option of a call: pass tokenizer_kwargs={{{name!r}: ...}}")
        if name == "sanitize_control_tokens" and variables[name]:
            raise TypeError("sanitize_control_tokens=True: pass protect='special', 'added' or a list of tokens instead")


def unknown_option(name: str) -> str:
    """Makes the message about an option that is not known."""
    known = [*NAMES, *DEFAULTS, *STEPS, *_ENDS, "extra_special_tokens", "chat_template"]
    if name in inspect.signature(PreTrainedTokenizer.__call__).parameters:
        return f"{name!r} is an option of a call: tokenizer(text, {name}=...)"
    close = difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"a tokenizer has no option {name!r} ({meant}there are {', '.join(known)})"
