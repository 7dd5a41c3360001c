"""The command line. Built on the public API alone; nothing imports it. Knows nothing of models, codecs or the format."""
