"""The accuracy check of the conversion scripts: an artefact's answers against ONNX Runtime's.

Imported first: the environment that it sets is read when the libraries are loaded.
"""
import os
import sys

os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # a thread and a call to the web; without it this side is the faster one

import numpy as np
import onnxruntime

INPUT = "x"
LEAST_COSINE = 0.99


def parse(shape):
    return [int(size) for size in shape.split(",")]


def samples(shape):
    """Those that the service takes: three seeded ones, of which the first and the last look like pages; zeros; ones."""
    generator = np.random.default_rng(0)
    return [page(generator, shape), generator.random(shape, np.float32), page(generator, shape),
            np.zeros(shape, np.float32), np.ones(shape, np.float32)]


def page(generator, shape):
    """A light ground with a line of dark dots: a text detector answers nothing but zeros on noise."""
    image = np.full(shape, 0.9, np.float32)
    height, width = shape[2:]
    dots = generator.random((7, width // 8)) < 0.5
    dots[:, 4::5] = False
    ink = np.kron(dots, np.ones((2, 2), bool))
    image[..., height // 3:height // 3 + ink.shape[0], width // 8:width // 8 + ink.shape[1]][..., ink] = 0.1
    return image


def judge(model, feeds, infer):
    """The exit code: 1 where the cosine over all samples is too low. `infer(feed)` is the artefact's output."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    dot = expected_square = actual_square = 0.0
    for feed in feeds:
        expected = session.run(None, {INPUT: feed})[0].ravel().astype(np.float64)
        actual = infer(feed).ravel().astype(np.float64)
        dot += expected @ actual
        expected_square += expected @ expected
        actual_square += actual @ actual
    cosine = float(dot / np.sqrt(expected_square * actual_square))
    print(f"cosine {cosine:.6f}", file=sys.stderr)
    return 0 if cosine >= LEAST_COSINE else 1
