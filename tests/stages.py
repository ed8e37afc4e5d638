"""The list of all stages: what each file or folder of the kernels does, and in which versions it exists.

`tests/kernels/test_stages.py` checks the code, and the table in notebooks/guide/gpu.md of what runs where, against it.
"""

from __future__ import annotations

from typing import NamedTuple


class Stage(NamedTuple):
    """A function that Python calls, with the same name and the same parameters in each of its versions.

    The version for CUDA takes the device first; the arrays and tables that follow lie on that device, unless its
    docstring says otherwise.
    """

    name: str
    versions: tuple[str, ...] = ("reference", "cpu")
    # Parameters that only one version has, after all others
    cpu_only: tuple[str, ...] = ()
    cuda_only: tuple[str, ...] = ()
    # Why there is no reference, and what the tests compare with instead; "": there is a reference
    no_reference: str = ""


class Step(NamedTuple):
    """The stages of one file or folder: `gputok.kernels.{version}.{name}`."""

    name: str
    does: str
    stages: tuple[Stage, ...] = ()
    # Functions of the version for the CPU that make the tables or the memory which stages work with
    tables: tuple[str, ...] = ()


_ALL, _CPU = ("reference", "cpu", "cuda"), ("cpu",)
_OF_UNIGRAM = (
    "one step of a larger algorithm; the tests compare the seeds and the expected counts of all steps with plain Python"
)

STEPS = (
    Step(
        "lines",
        "finding lines",
        (Stage("lines", _ALL, ("memory",), ("begins",)), Stage("is_utf8"), Stage("find_invalid_utf8")),
    ),
    Step(
        "texts",
        "packing texts as UTF-8",
        (Stage("pack_texts", _CPU, no_reference="`str.encode` of Python gives the same bytes"),),
    ),
    Step("documents", "cutting at separators", (Stage("documents", cpu_only=("in_place",)),)),
    Step(
        "json_tables",
        "reading and writing tables of tokenizer.json",
        (
            Stage("read_table", _CPU, no_reference="the module `json` of Python reads the same tables"),
            Stage("read_merges", _CPU, no_reference="the module `json` of Python reads the same merges"),
            Stage("write_rows", _CPU, no_reference="the module `json` of Python writes the same tables"),
        ),
    ),
    Step(
        "find_tokens",
        "finding added tokens",
        (
            Stage("find_tokens", cpu_only=("first",)),
            Stage("has_token", _CPU, no_reference="the tests compare with `find_tokens` of the whole text"),
        ),
        ("first_bytes",),
    ),
    Step(
        "normalize",
        "Unicode normalization",
        (Stage("is_inert"), Stage("follow"), Stage("map_characters"), Stage("normalize_form")),
    ),
    Step("precompiled", "SentencePiece's normalization", (Stage("normalize_precompiled"),), ("measured",)),
    Step("edits", "replacing and stripping", (Stage("splice"), Stage("find_literal"), Stage("strip"))),
    Step(
        "records",
        "rows of files of ids",
        (Stage("sample_offsets"), Stage("mds_samples"), Stage("olmo_lines")),
    ),
    Step("rewrite", "rewriting bytes", (Stage("gather"), Stage("rewrite_bytes"))),
    Step(
        "split",
        "cutting text into words",
        (Stage("split_words"), Stage("find_words", _ALL, cuda_only=("most",)), Stage("find_cuts")),
        ("rule_of", "cut_bits"),
    ),
    Step(
        "walk",
        "cutting text into slices",
        (
            Stage(
                "slice_text",
                _CPU,
                no_reference="many cuts are right; the tests compare the words of all slices with those of the text",
            ),
        ),
        ("prepare",),
    ),
    Step(
        "count_words",
        "counting words",
        (
            Stage("count_words", _ALL, ("start", "stop", "make_room")),
            Stage("count_pieces", cpu_only=("make_room",)),
            Stage("distinct_words", cpu_only=("n_threads",)),
            Stage("word_keys"),
        ),
        ("counts",),
    ),
    Step("word_table", "", tables=("new_table", "clear", "enlarged", "n_bytes_of", "wanted")),
    Step(
        "spell_words", "words as symbols", (Stage("count_characters"), Stage("spell_words"), Stage("spell_cut_words"))
    ),
    Step(
        "train_bpe",
        "training BPE",
        (
            Stage("train_bpe", _ALL, ("sizes", "threads")),
            Stage("train_bpe_of_parts", _CPU, no_reference="it is `train_bpe` for words that arrive in parts"),
        ),
        ("token_traits",),
    ),
    Step(
        "superwords",
        "learning and encoding superwords",
        (
            Stage("fit_tokens", cpu_only=("known", "much_work")),
            Stage("deal_pairs"),
            Stage("add_pairs"),
            Stage("cut_runs"),
            Stage("merge_runs", cpu_only=("known",)),
        ),
        ("frequent_cells", "joints", "new_memory", "new_runs", "run_tables"),
    ),
    Step("train_parity_bpe", "training parity-aware BPE", (Stage("train_parity_bpe", cpu_only=("slice_length",)),)),
    Step(
        "train_unigram",
        "training Unigram",
        tuple(
            Stage(name, _CPU, no_reference=_OF_UNIGRAM)
            for name in (
                *("best_spellings", "expect", "fill_trie", "renumber"),
                *("bucket_cuts", "character_counts", "deal_suffixes", "deal_words"),
                *("decode_words", "least_score", "place_pieces", "seed_candidates", "sort_suffixes", "spread_arcs"),
            )
        ),
    ),
    Step(
        "encode_words",
        "encoding words by BPE",
        (Stage("encode_words", cpu_only=("cache", "random", "positions")), Stage("encode_short_words")),
        ("byte_words", "character_tables", "line_words", "word_cache"),
    ),
    Step(
        "encode_corpus",
        "encoding text by BPE",
        (
            Stage("encode_corpus", _ALL, ("encoder", "words"), ("dtype",)),
            Stage("encode_marked", cpu_only=("encoder",)),
            Stage("surround", _CPU, no_reference="it copies ids; the tests compare with `encode`"),
        ),
        ("grown", "new_cache"),
    ),
    Step(
        "encode_one",
        "encoding a short text",
        (
            Stage("encode_text"),
            *(
                Stage(name, _CPU, no_reference="its ids are those of `encode_text`; tests ask `tokenizers`")
                for name in ("encode_units", "encode_positions")
            ),
            *(
                Stage(
                    name,
                    _CPU,
                    no_reference="the tests compare the ids of both sides of each seam with those of the text",
                )
                for name in ("last_seam", "all_seams")
            ),
            Stage("trim", _CPU, no_reference="the tests compare with `Rows.trim_offsets`, and ask `tokenizers`"),
        ),
        ("new_handle", "put_steps", "with_memory"),
    ),
    Step("match_longest", "encoding words by WordPiece", (Stage("match_longest"),)),
    Step(
        "viterbi",
        "encoding words by Unigram",
        (
            Stage("viterbi"),
            Stage("sample_paths", _CPU, no_reference="it is random; the tests compare distributions with `tokenizers`"),
        ),
    ),
    Step(
        "compiled",
        "checking compiled tokenizers",
        tuple(
            Stage(name, _CPU, no_reference="the tests change each table, and open it")
            for name in ("checksum", "wrong_merge", "free_pairs", "free_slots")
        ),
    ),
    Step("trie", "", tables=("build_trie", "grow_trie", "new_edges", "prefixes")),
    Step(
        "lookup",
        "encoding words by WordLevel",
        (Stage("find_strings", _CPU, no_reference="a dictionary of Python finds the same"),),
        (
            *("index_pairs", "index_strings", "join_pairs", "pair_ranks", "side_by_side", "single_characters"),
            *("spell_bytes", "split_at_space"),
        ),
    ),
)
