"""A tokenizer's parts, and the engines that take text through them."""
