"""Along which axes of an output its slices are of different kinds: channels, classes, columns; not rows of a picture.
Standard library only."""

MAX_SLICES = 1024  # along one axis; more are places, not channels (a detector's anchors)
_PICTURE = 16  # pixels in a row, at least


def find_axes(shape):
    """The axes along which slices are held against each other. Up to three dimensions all are, since nothing tells
    which one counts the channels. Of more dimensions two or more are places; a picture's rows are dark or bright by
    what it shows."""
    rank = len(shape)
    if rank <= 3:
        axes = list(range(rank))
    else:
        axes = [axis for axis, channels in ((1, not _is_last(shape)), (rank - 1, _may_be_last(shape))) if channels]
    whole = sum(dim != 1 for dim in shape) == 1
    return [axis for axis in axes if 2 <= shape[axis] <= MAX_SLICES and not (whole and rank > 3)]


def find_channels(shape):
    """The one axis that most probably counts channels, or None. A sequence or a list of three dimensions has more
    places than channels, mostly."""
    axes = find_axes(shape)
    if len(shape) <= 2:
        return axes[-1] if axes else None
    return min(axes, key=lambda axis: (shape[axis], axis), default=None) if len(shape) == 3 else next(iter(axes), None)


def _is_last(shape):
    """Whether the channels come last for certain: a square of places before them."""
    return shape[-3] == shape[-2] != shape[-1] and len(shape) == 4


def _may_be_last(shape):
    return len(shape) > 4 or _is_last(shape) or shape[-1] < _PICTURE or shape[-1] * 4 < shape[-2]
