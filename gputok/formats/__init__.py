"""Tokenizers in other files than a tokenizer.json: for each format a module that reads and writes it.

tiktoken       `.tiktoken` files and Llama 3's `tokenizer.model`: byte-level tokens by rank
sentencepiece  `.model` files of SentencePiece
tekken         Mistral's `tekken.json`
gguf           the tokenizer of a `.gguf` file (llama.cpp)
ranks          what the first two and GGUF have in common: merges that are not written down

`gputok.files.file_kinds` tells them apart by their first bytes.
"""
