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

__all__ = ["HTP_LIBRARY", "Call", "ort", "qnn_quantization"]

PROVIDER = "QNNExecutionProvider"
HTP_LIBRARY = onnxruntime_qnn.get_qnn_htp_path()
ort.register_execution_provider_library(PROVIDER, onnxruntime_qnn.get_library_path())


class Call:
    """A session to be made with the QNN provider: `open` makes it, `commands` tell it as somebody would type it."""

    def __init__(self, chip, allow_cpu, provider=(), session=()):
        """`provider` and `session` are more options of the two; values are made text."""
        soc_model, htp_arch = CHIPS[chip]
        self._provider = {"soc_model": str(soc_model), "htp_arch": str(htp_arch), "enable_htp_fp16_precision": "1",
                          **{name: str(value) for name, value in dict(provider).items()}}
        self._session = {"session.disable_cpu_ep_fallback": str(int(not allow_cpu)),
                         **{name: str(value) for name, value in dict(session).items()}}

    def open(self, model, threads):
        """An `InferenceSession`. Raises whatever ONNX Runtime raises; its errors share no base class."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        device = next(device for device in ort.get_ep_devices() if device.ep_name == PROVIDER)
        options.add_provider_for_devices([device], {"backend_path": HTP_LIBRARY, **self._provider})
        for name, value in self._session.items():
            options.add_session_config_entry(name, value)
        return ort.InferenceSession(model, options)

    def commands(self, model):
        shown = "".join(f", {name!r}: {value!r}" for name, value in self._provider.items())
        return ["import onnxruntime as ort, onnxruntime_qnn as qnn",
                f"ort.register_execution_provider_library({PROVIDER!r}, qnn.get_library_path())",
                f"devices = [device for device in ort.get_ep_devices() if device.ep_name == {PROVIDER!r}]",
                "options = ort.SessionOptions()",
                f"options.add_provider_for_devices(devices[:1], {{'backend_path': qnn.get_qnn_htp_path(){shown}}})",
                *(f"options.add_session_config_entry({name!r}, {value!r})" for name, value in self._session.items()),
                f"ort.InferenceSession({model!r}, options)"]
