"""What the stages are made of: views of memory, hashes, heaps and characters. Python calls none of it."""
