"""Training of small models for the exact engine: `llmzip train`. On top of the public API; nothing else imports it."""
