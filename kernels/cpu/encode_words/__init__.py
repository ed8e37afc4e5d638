"""Words to tokens by BPE."""
