"""onnx's own backend node tests through every real target: `python -m tests.backend_nodes`."""
