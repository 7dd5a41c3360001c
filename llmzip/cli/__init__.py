"""The command line. Built on the public API alone; nothing imports it."""
