"""A stand-in for Cambricon's MagicMind, for tests alone: the part of its Python API that its own samples use
(magicmind_cloud, buildin/python_common and the gen_model folders), with ONNX Runtime in the place of the MLU.

What it does and where it fails is what the samples and users' reports show; what they do not show (how an operator that
it lacks is told, its file's format) is made up. The environment chooses what goes wrong:

    STANDIN_MLU_DEVICES   how many MLUs there are (0)
    STANDIN_MAGICMIND     what happens, separated by commas: see `has` in `python/runtime/core.py`
"""
__version__ = "1.7.0"
