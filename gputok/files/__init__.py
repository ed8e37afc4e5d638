"""Reads and writes files and URLs, atomically; helpers for JSON, Arrow, Parquet and temporary files."""
