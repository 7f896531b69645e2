"""From a request to tasks: the use case behind every door through which conversions come in."""
