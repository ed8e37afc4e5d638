"""Reads and writes tokenizers in formats other than tokenizer.json, one module for each format.

tiktoken       `.tiktoken` files and Llama 3's `tokenizer.model`: byte-level tokens by rank
sentencepiece  `.model` files of SentencePiece
tekken         Mistral's `tekken.json`
gguf           the tokenizer of a `.gguf` file (llama.cpp)
ranks          for the first three: finds the merges of a BPE, which these files don't contain

`gputok.files.tokenizer_kinds` recognizes a format by the bytes of a file.
"""
