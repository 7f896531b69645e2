"""Rounding weights together: what one of them loses, the others of the same output make up for.

Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers" (2022), algorithm 1:
the columns of a weight are rounded one after the other, and each one's error is spread over the columns that are still
to come, by the inverse of the second moments of what the operator reads. Where a bias can take back the mean (see
`biases`), the moments are those about the mean.
"""
from collections import defaultdict

from worker.platforms.qualcomm.biases import has_movable_bias
from worker.platforms.qualcomm.cpu import open_on_cpu
from worker.platforms.qualcomm.reads import find_reads
from worker.stages.graph import Graph

_DAMPING = 0.01  # of the mean second moment: what the set does not show is not taken for impossible
_BLOCK = 128  # columns whose errors are spread over the rest at once
_WIDEST = 4608  # columns: the moments of 512 channels under a window of 3x3 take 170 MB, and their inverse 10 s
_BATCH_BYTES = 1 << 29  # of moments that are measured in one pass over the samples


def round_together(model, rounded, path, feeds, threads):
    """Change the integers of the `rounded` weights where that brings the outputs nearer; the names of what changed.

    `rounded` is from `drafts.rounded_weights`. `feeds()` yields the samples, `{name: array}`, from the first on. `path`
    is where the model that measures is written.
    """
    graph = Graph(model)
    readers = defaultdict(list)
    for node in graph.graph.node:
        for index, name in enumerate(node.input):
            if name in rounded:
                readers[name].append(find_reads(graph, node) if index == 1 else None)
    layers = {name: reads for name, reads in readers.items() if _is_taken(reads, rounded[name])}
    changed = []
    for batch in _batches(layers):
        moments = _measure(model, batch, path, feeds(), threads)
        for name, reads in batch.items():
            if _round(graph, reads[0], rounded[name], *moments[name]):
                changed.append(name)
    return changed


def _is_taken(reads, weight):
    import numpy as np

    if (weight.whole.dtype.itemsize > 1 or not all(reads) or not all(one.is_like(reads[0]) for one in reads)
            or reads[0].columns > _WIDEST):
        return False
    scale, zero = (reads[0].view(np.broadcast_to(array, weight.whole.shape)) for array in (weight.scale, weight.zero))
    return bool((scale == scale[:, :, :1]).all() and (zero == zero[:, :, :1]).all())  # the same in a whole row


def _batches(layers):
    batch, total = {}, 0
    for name, reads in layers.items():
        needed = 8 * reads[0].groups * reads[0].columns**2
        if batch and total + needed > _BATCH_BYTES:
            yield batch
            batch, total = {}, 0
        batch[name] = reads
        total += needed
    if batch:
        yield batch


def _measure(model, layers, path, samples, threads):
    """`{weight: (mean [groups, columns], second moments [groups, columns, columns])}` of what its operators read."""
    import numpy as np
    import onnx

    measuring = onnx.ModelProto()
    measuring.CopyFrom(model)
    names = {one.source for reads in layers.values() for one in reads}
    there = {value.name for value in (*measuring.graph.output, *measuring.graph.input)}
    measuring.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
                                  for name in sorted(names - there))
    session = open_on_cpu(measuring, path, threads)
    fetched = [value.name for value in session.get_outputs() if value.name in names]
    random, count, sums = np.random.default_rng(0), 0, {}
    for feed in samples:
        values = feed | dict(zip(fetched, session.run(fetched, feed)))
        for name, reads in layers.items():
            for one in reads:
                columns = one.read(values[one.source], random)
                mean, second = columns.mean(1), np.matmul(columns.swapaxes(1, 2), columns) / columns.shape[1]
                before = sums.get(name, (0.0, 0.0))
                sums[name] = before[0] + mean / len(reads), before[1] + second / len(reads)
        count += 1
    return {name: (mean / count, second / count) for name, (mean, second) in sums.items()}


def _round(graph, reads, weight, mean, second):
    """Whether the weight changed."""
    import numpy as np

    if has_movable_bias(graph, reads.node):
        second = second - mean[:, :, None] * mean[:, None, :]
    exact = graph.array(reads.node.input[1]) / weight.scale + weight.zero  # in steps
    lowest, highest = _ends(weight)
    before = reads.view(weight.whole).astype(np.float64)
    # The ends stay: of them the quantizer makes the scale.
    held = (before == lowest) | (before == highest)
    after = spread(reads.view(exact), np.where(held, before, np.nan), second, lowest, highest)
    loss_before, loss_after = (np.einsum("grk,gkl,grl->gr", error, second, error, optimize=True)
                               for error in (before - reads.view(exact), after - reads.view(exact)))
    better = loss_after < loss_before
    weight.whole = reads.unview(np.where(better[:, :, None], after, before)).astype(weight.whole.dtype)
    return bool(better.any())


def _ends(weight):
    """The least and the greatest integer that the quantizer writes; without a zero point it leaves out the least."""
    import numpy as np

    info = np.iinfo(weight.whole.dtype)
    return (info.min if info.min == 0 or weight.zero.any() else -info.max), info.max


def spread(exact, held, second, lowest, highest):
    """Integers `lowest`..`highest` for `exact`, both [groups, rows, columns].

    `held` has the integers that are given, NaN elsewhere. `second` are the moments, [groups, columns, columns].
    """
    import numpy as np

    columns = exact.shape[2]
    diagonal = np.einsum("gkk->gk", second)
    order = np.argsort(-diagonal, axis=1, kind="stable")  # what is read most is rounded first: most is left to help
    weights, held = (np.take_along_axis(array, order[:, None, :], 2).astype(np.float64) for array in (exact, held))
    second = np.take_along_axis(np.take_along_axis(second, order[:, :, None], 1), order[:, None, :], 2)
    damping = _DAMPING * diagonal.mean(1)
    second[:, range(columns), range(columns)] += np.where(damping > 0, damping, 1.0)[:, None]
    factor = np.linalg.cholesky(np.linalg.inv(second)).swapaxes(1, 2)
    whole = np.empty_like(weights)
    for start in range(0, columns, _BLOCK):
        end = min(start + _BLOCK, columns)
        errors = np.empty((*weights.shape[:2], end - start))
        for column in range(start, end):
            given = held[:, :, column]
            rounded = np.clip(np.rint(weights[:, :, column]), lowest, highest)
            whole[:, :, column] = np.where(np.isnan(given), rounded, given)
            error = (weights[:, :, column] - whole[:, :, column]) / factor[:, column, column, None]
            errors[:, :, column - start] = error
            weights[:, :, column + 1:end] -= error[:, :, None] * factor[:, None, column, column + 1:end]
        weights[:, :, end:] -= np.matmul(errors, factor[:, start:end, end:])
    back = np.argsort(order, axis=1)
    return np.take_along_axis(whole, back[:, None, :], 2)
