"""Tokens and their ids."""
