"""Stage: the artefact's outputs on the worker's MLU against the reference's. There is no simulator: without a card that
runs the artefact's chip nothing is compared, and the facts say so."""
import os

from worker.platforms.cambricon import device, reasons
from worker.platforms.cambricon.artefact import describe, load
from worker.platforms.cambricon.compile import FILE
from worker.platforms.cambricon.config import images
from worker.stage_api import StageError
from worker.stages.accuracy import compare
from worker.stages.messages import raise_if_out_of_memory, tidy


def run(job):
    """Facts: see `accuracy.Gate.judge`; or `skipped`, with the `reason`.

    Raises:
        StageError: `accuracy_too_low`, `verify_failed` (the artefact does not run), `toolchain_broken`.
    """
    reference = job["inputs"]["reference"]["facts"]
    if reference["skipped"]:
        return {"skipped": True}
    reason = _why_not(job["parameters"]["chip"])
    if reason:
        warning = reasons.NOT_CHECKED(reason=reason)
        return {"skipped": True, "reason": reason.en, "reason_zh": reason.zh, "warnings": [warning.en],
                "warnings_zh": [warning.zh]}
    import magicmind.python.runtime as mm

    with device.opened(mm) as mlu:
        gate = compare(job, _make_runner(mm, mlu, job, reference), begins_at=20)
    return gate.judge(job["parameters"])


def _why_not(chip):
    """Why the artefact cannot run here, or None."""
    card, wanted = device.card(), device.CARDS.get(chip)
    if wanted is None:
        return reasons.EDGE_ONLY(chip=chip)
    if card == device.ABSENT:
        return reasons.NO_MLU
    if card not in (wanted, device.UNKNOWN):
        return reasons.OTHER_MLU(chip=chip, wanted=wanted, card=card)
    return None


def _make_runner(mm, mlu, job, reference):
    """`infer(inputs) -> outputs`, both lists of arrays in the ONNX model's order and layout.

    The sequence of calls is that of magicmind_cloud's python_common/mm_runner.py.
    """
    import numpy as np

    model = load(mm, os.path.join(job["inputs"]["compile"]["dir"], FILE), job, reasons.UNREADABLE_AT_VERIFY)
    described = describe(mm, model)
    settings = mm.Model.EngineConfig()
    settings.device_type = "MLU"
    engine = _need(model.create_i_engine(settings), "engine")
    context = _need(engine.create_i_context(), "context")
    queue = _need(mlu.create_queue(), "queue")
    tensors = context.create_inputs()
    turned_in = images(reference["inputs"], "layout") if job["parameters"]["layout"] == "nhwc" else []
    turned_out = described["outputs"] if job["parameters"]["output_layout"] == "nhwc" else []

    def infer(arrays):
        for position, (tensor, array, entry) in enumerate(zip(tensors, arrays, described["inputs"])):
            if position in turned_in:
                array = np.moveaxis(array, 1, 3)
            tensor.from_numpy(np.ascontiguousarray(_cast(array, entry["dtype"])))
            tensor.to(mlu)
        results = []
        _check(context.enqueue(tensors, results, queue), job)
        _check(queue.sync(), job)
        return [np.moveaxis(output, 3, 1) if turned_out and output.ndim == 4 else output
                for output in (np.asarray(result.asnumpy()) for result in results)]

    def guarded(arrays):
        try:
            return infer(arrays)
        except StageError:
            raise
        except Exception as error:  # the bindings raise what the libraries throw; they have no base class
            raise_if_out_of_memory(error)
            raise reasons.DOES_NOT_RUN(said=tidy(error, job)) from error

    return guarded


def _cast(array, dtype):
    """As the artefact takes it; to integers by rounding, within their range: raw pixel values are whole numbers."""
    import numpy as np

    if array.dtype.kind == "f" and np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        return np.clip(np.rint(array.astype(np.float64)), limits.min, limits.max).astype(dtype)
    return array.astype(dtype, copy=False)


def _need(made, what):
    if made is None:
        raise reasons.DOES_NOT_RUN(said=reasons.NOT_MADE(what=what))
    return made


def _check(status, job):
    if not status.ok():
        raise reasons.DOES_NOT_RUN(said=tidy(status.error_message(), job))
