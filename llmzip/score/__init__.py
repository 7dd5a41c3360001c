"""The compression view of language models: bits per byte on texts, and which is better. docs/score.md: the method."""
