"""ONNX Runtime with the QNN provider, and without its telemetry: `from worker.platforms.qualcomm.toolkit import ort`.

Importing `onnxruntime` alone starts a thread, writes to HOME and calls a web address (seen in 1.32.0 for Linux), unless
the variable says no first. OpenBLAS would start a thread for each core, of which a fork keeps none.
"""
import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import onnxruntime as ort
import onnxruntime.quantization.execution_providers.qnn as qnn_quantization
import onnxruntime_qnn

from worker.platforms.qualcomm.chips import CHIPS
from worker.stages.calls import File, Name, Script, Shown

__all__ = ["HTP_LIBRARY", "open_session", "ort", "qnn_quantization"]

PROVIDER = "QNNExecutionProvider"
HTP_LIBRARY = onnxruntime_qnn.get_qnn_htp_path()
_ORT, _QNN, _DEVICES, _OPTIONS = Name("ort"), Name("qnn"), Name("devices"), Name("options")
_BEGIN = Script("import onnxruntime as ort, onnxruntime_qnn as qnn", ort=ort, qnn=onnxruntime_qnn)
_BEGIN.do(_ORT.register_execution_provider_library(PROVIDER, _QNN.get_library_path()))  # a second time it would fail


def open_session(chip, allow_cpu, model, threads, provider=(), session=()):
    """`(an InferenceSession of the model with the QNN provider, the commands)`.

    `model` is a path; `provider` and `session` are more options of the two, whose values are made text. Raises whatever
    ONNX Runtime raises; its errors share no base class.
    """
    soc_model, htp_arch = CHIPS[chip]
    script = Script(*_BEGIN.commands, **_BEGIN.known)
    first = next(device for device in ort.get_ep_devices() if device.ep_name == PROVIDER)
    script.let("devices", Shown(
        [first], f"[device for device in ort.get_ep_devices() if device.ep_name == {PROVIDER!r}][:1]"))
    script.let("options", _ORT.SessionOptions()).intra_op_num_threads = threads  # this machine's: not in the commands
    script.do(_OPTIONS.add_provider_for_devices(_DEVICES, {
        "backend_path": _QNN.get_qnn_htp_path(), "soc_model": str(soc_model), "htp_arch": str(htp_arch),
        "enable_htp_fp16_precision": "1", **{name: str(value) for name, value in dict(provider).items()}}))
    for name, value in {"session.disable_cpu_ep_fallback": int(not allow_cpu), **dict(session)}.items():
        script.do(_OPTIONS.add_session_config_entry(name, str(value)))
    return script.do(_ORT.InferenceSession(File(model), _OPTIONS)), script.commands
