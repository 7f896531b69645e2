"""Outputs that list what a model has found, the best first: TopK, the rows of an NMS. NumPy only.

Two finds with nearly the same score change places by rounding alone, and with them every value of their rows. So the
artefact's rows are put into the order of the model's before anything is compared.
"""
_LEAST_ROWS, _MOST_ROWS = 8, 1024
_MOST_VALUES = 1 << 22  # of one list; more are no finds


def align(expected, actual):
    """The artefact's outputs of one sample, the rows of its lists in the order of the model's. All outputs that have as
    many rows as one that falls along them (a column of scores) are parts of the same list."""
    import numpy as np

    sizes = [_squeezed(array) for array in expected]
    if sizes != [_squeezed(array) for array in actual]:
        return actual
    result = list(actual)
    for rows in sorted({size[0] for size in sizes if size and _LEAST_ROWS <= size[0] <= _MOST_ROWS}):
        members = [index for index, size in enumerate(sizes) if size and size[0] == rows
                   and expected[index].size <= _MOST_VALUES]
        a, b = ([_columns(side[index], rows) for index in members] for side in (expected, actual))
        ranked = any(_falls(one) for one in a if one.shape[1] < rows)
        if not ranked or not all(np.isfinite(one).all() for one in [*a, *b]):
            continue
        order = _match(a, b, [expected[index].dtype.kind for index in members])
        for index in members:
            moved = np.asarray(actual[index]).reshape(rows, -1)[order]
            result[index] = moved.reshape(np.shape(actual[index]))
    return result


def _squeezed(array):
    return [dim for dim in array.shape if dim != 1]


def _columns(array, rows):
    import numpy as np

    return np.asarray(array).reshape(rows, -1).astype(np.float64)


def _falls(columns):
    """Whether the values of a column never rise from row to row, and are not all the same."""
    import numpy as np

    return bool(((np.diff(columns, axis=0) <= 0).all(axis=0) & (columns[0] > columns[-1])).any())


def _match(expected, actual, kinds):
    """For each of the model's rows the artefact's that is most like it; each is taken once."""
    import numpy as np

    rows = len(expected[0])
    place = np.arange(rows)
    far = 1e-9 * np.abs(place[:, None] - place)  # of equal rows the one in the same place
    for a, b, kind in zip(expected, actual, kinds):
        for column in range(a.shape[1]) if kind != "f" else ():  # a name is the same or another one
            far += a[:, column, None] != b[:, column]
        if kind == "f":
            scale = np.maximum(np.abs(a).max(axis=0), 1e-30)
            a, b = a / scale, b / scale
            squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
            far += np.maximum(squares, 0) / a.shape[1]
    order = np.empty(rows, np.int64)
    for row in range(rows):
        order[row] = far[row].argmin()
        far[:, order[row]] = np.inf
    return order
