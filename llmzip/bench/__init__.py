"""Measurements of llmzip itself: `llmzip bench`.

On top of the public pieces; nothing imports it but the command line.
"""
