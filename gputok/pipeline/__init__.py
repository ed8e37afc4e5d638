"""The parts of a tokenizer, and the engines that encode text with them."""
