"""Which slices of an output fail, from the figures of `slices.Slices`. Standard library only."""
from worker.stages import accuracy_bounds as rules
from worker.stages.axes import find_channels


def find_failing(entry, bounds):
    """What fails along the axis that tells best, or None: `axis`, `shape`, the indices `dead` and `wrong`, and of all
    these whether they are of a `small` scale, their greatest magnitude, spread and error; `scale` is the output's."""
    found = [failing for axis in entry.get("slices", ()) for failing in [_judge(axis, bounds)] if failing]
    # Where all of the output is lost so is each slice; else the axis with the fewest is the one along which they lie.
    return min(found, key=lambda one: (one["axis"] is not None, not one["dead"], len(one["dead"]) + len(one["wrong"])),
               default=None)


def choose_shown(entry, failing):
    """The figures of the axis that the report shows: the failing one, or that of channels; None where there is none."""
    axes = {axis["axis"]: axis for axis in entry.get("slices", ()) if axis["axis"] is not None}
    if failing is not None and failing["axis"] is not None:
        return axes[failing["axis"]]
    shown = axes.get(find_channels(next(iter(axes.values()))["shape"])) if axes else None
    return None if shown is None or "indices" in shown else shown


def _judge(axis, bounds):
    rows = dict(zip(axis.get("indices") or range(len(axis["error"])), zip(
        axis["largest"], axis["spread"], axis["error"])))
    small, faint = set(axis["small"]), set(axis["faint"])
    scale = max(largest for largest, _, _ in rows.values())
    usual = (sum(spread**2 for _, spread, _ in rows.values()) / len(rows)) ** 0.5
    # An axis that may count places has no slice of its own right: a row that a picture darkens, a step of a sequence.
    whole = axis["axis"] is None
    own = whole or axis["axis"] == find_channels(axis["shape"])
    dead = {index for index in axis["dead"] if index in small or own}
    wrong = set()
    for index, (_, spread, error) in rows.items():
        if index in small:
            failed = error > bounds.small_error and axis["values"] >= rules.LEAST_VALUES_OF_SMALL
        else:
            failed = own and axis["values"] >= rules.LEAST_VALUES and error > rules.MAX_ERROR and spread >= max(
                bounds.least_spread * scale, rules.LEAST_SPREAD_BESIDE * usual)
            failed = failed and (whole or not axis["probabilities"])
        if failed and index not in dead:
            wrong.add(index)
    failing = dead | wrong
    if not failing - faint:
        return None
    told = [rows[index] for index in failing if index in rows]
    largest, spread, error = (max(column) for column in zip(*told))
    return {"axis": axis["axis"], "shape": axis["shape"], "dead": sorted(dead), "wrong": sorted(wrong),
            "small": failing <= small, "largest": largest, "spread": spread, "error": error, "scale": scale}
