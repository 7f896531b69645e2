"""Running an artefact for given inputs, in its toolchain's interpreter: `run(job)` as a stage has it. These are calls
of the vendors' libraries and none of the product's comparison.

`job["inputs"]` has the conversion's stages, and "case" with a file `inputs.npz`; `outputs.npz` is written, in the
order of the model's outputs.
"""
import os
import shutil

import numpy as np

INPUTS, OUTPUTS = "inputs.npz", "outputs.npz"


def intel(job):
    import openvino as ov

    model = ov.Core().read_model(os.path.join(job["inputs"]["compile"]["dir"], "model.xml"))
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"})
    feed, names = _feed(job), {name for port in compiled.inputs for name in port.get_names()}
    if len(compiled.inputs) == len(feed) and not names >= set(feed):  # one that is handed on has its output's name
        answers = compiled(list(feed.values()))
    else:
        answers = compiled({name: array for name, array in feed.items() if name in names})
    return _keep(job, [answers[port] for port in compiled.outputs])


def qualcomm(job):
    from worker.platforms.qualcomm.toolkit import open_session

    folder = job["inputs"]["compile"]["dir"]
    session, _ = open_session(job["parameters"]["chip"], False, os.path.join(folder, "model_ctx.onnx"), 1)
    names = {value.name for value in session.get_inputs()}
    return _keep(job, session.run(None, {name: array for name, array in _feed(job).items() if name in names}))


def rockchip(job):
    """A loaded `.rknn` cannot be simulated: the calls that the report tells are made again."""
    folder = next(entry["dir"] for entry in map(job["inputs"].get, ("prepare", "optimize"))
                  if entry and os.path.exists(os.path.join(entry["dir"], "model.onnx")))
    shutil.copytree(folder, ".", dirs_exist_ok=True)
    known, told = {}, job["inputs"]["compile"]["facts"]
    exec("\n".join(told["commands"]), known)
    known["rknn"].init_runtime()
    arrays = _feed(job)
    given = [arrays[entry["name"]] for entry in told["inputs"] if entry["name"] in arrays]
    feed = [array.astype(np.float32) if array.dtype == np.float64 else array for array in given]
    return _keep(job, known["rknn"].inference(inputs=feed, data_format=["nchw"] * len(feed)))


def _feed(job):
    with np.load(os.path.join(job["inputs"]["case"]["dir"], INPUTS), allow_pickle=False) as arrays:
        return dict(arrays)


def _keep(job, outputs):
    arrays = [np.asarray(output) for output in outputs]
    np.savez(os.path.join(job["output_dir"], OUTPUTS), **{str(index): array for index, array in enumerate(arrays)})
    return {"count": len(arrays)}
