"""One short text to ids, in one call that takes a microsecond."""
