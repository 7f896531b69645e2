"""Stand-in: `import magicmind.python.runtime as mm`."""
from .builder import Builder, BuilderConfig, Network
from .calibrator import CalibDataInterface, Calibrator, QuantizationAlgorithm, RemoteConfig
from .core import Code, DataType, Device, Dims, ModelKind, Status, System
from .model import Model

__all__ = ["Builder", "BuilderConfig", "CalibDataInterface", "Calibrator", "Code", "DataType", "Device", "Dims",
           "Model", "ModelKind", "Network", "QuantizationAlgorithm", "RemoteConfig", "Status", "System"]
