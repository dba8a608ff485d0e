"""What in a Keras model's configuration could run code, or reach outside of it? An allow-list of Keras' own layers.

Keras' safe mode has been got around more than once, and never held for .h5: CVE-2024-3660 (Lambda), CVE-2025-1550 (any
function of any module by its name), CVE-2025-8747 (keras.utils.get_file), CVE-2025-9905 (.h5), CVE-2025-9906
(switching safe mode off from within), CVE-2025-49655 (TorchModuleWrapper), CVE-2025-12058 (a vocabulary that is a
path). So what is not named here is a finding, whether Keras would load it or not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from registry.nested import objects

# The layers of keras.layers (3.15) that hold numbers and compute; left out: Lambda, TorchModuleWrapper, JaxLayer,
# FlaxLayer and TFSMLayer, which hold code.
LAYERS = frozenset({
    "Activation", "ActivityRegularization", "AdaptiveAveragePooling1D", "AdaptiveAveragePooling2D",
    "AdaptiveAveragePooling3D", "AdaptiveMaxPooling1D", "AdaptiveMaxPooling2D", "AdaptiveMaxPooling3D", "Add",
    "AdditiveAttention", "AlphaDropout", "Attention", "AugMix", "AutoContrast", "Average", "AveragePooling1D",
    "AveragePooling2D", "AveragePooling3D", "AvgPool1D", "AvgPool2D", "AvgPool3D", "BatchNormalization",
    "Bidirectional", "CategoryEncoding", "CenterCrop", "Concatenate", "ContrastLimitedAdaptiveHistogramEqualization",
    "Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose", "Conv3D", "Conv3DTranspose", "ConvLSTM1D", "ConvLSTM2D",
    "ConvLSTM3D", "Convolution1D", "Convolution1DTranspose", "Convolution2D", "Convolution2DTranspose",
    "Convolution3D", "Convolution3DTranspose", "Cropping1D", "Cropping2D", "Cropping3D", "CutMix", "Dense",
    "DepthwiseConv1D", "DepthwiseConv2D", "Discretization", "Dot", "Dropout", "ELU", "EinsumDense", "Embedding",
    "Equalization", "Flatten", "GRU", "GRUCell", "GaussianDropout", "GaussianNoise", "GlobalAveragePooling1D",
    "GlobalAveragePooling2D", "GlobalAveragePooling3D", "GlobalAvgPool1D", "GlobalAvgPool2D", "GlobalAvgPool3D",
    "GlobalMaxPool1D", "GlobalMaxPool2D", "GlobalMaxPool3D", "GlobalMaxPooling1D", "GlobalMaxPooling2D",
    "GlobalMaxPooling3D", "GroupNormalization", "GroupQueryAttention", "HashedCrossing", "Hashing", "Identity",
    "InputLayer", "IntegerLookup", "LSTM", "LSTMCell", "LayerNormalization", "LeakyReLU", "Masking",
    "MaxNumBoundingBoxes", "MaxPool1D", "MaxPool2D", "MaxPool3D", "MaxPooling1D", "MaxPooling2D", "MaxPooling3D",
    "Maximum", "MelSpectrogram", "Minimum", "MixUp", "MultiHeadAttention", "Multiply", "Normalization", "PReLU",
    "Permute", "Pipeline", "RMSNormalization", "RNN", "RandAugment", "RandomBrightness", "RandomColorDegeneration",
    "RandomColorJitter", "RandomContrast", "RandomCrop", "RandomElasticTransform", "RandomErasing", "RandomFlip",
    "RandomGaussianBlur", "RandomGrayscale", "RandomHue", "RandomInvert", "RandomPerspective", "RandomPosterization",
    "RandomRotation", "RandomSaturation", "RandomSharpness", "RandomShear", "RandomTranslation", "RandomZoom", "ReLU",
    "RepeatVector", "Rescaling", "Reshape", "Resizing", "ReversibleEmbedding", "STFTSpectrogram", "SeparableConv1D",
    "SeparableConv2D", "SeparableConvolution1D", "SeparableConvolution2D", "SimpleRNN", "SimpleRNNCell", "Softmax",
    "Solarization", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "SpectralNormalization",
    "StackedRNNCells", "StringLookup", "Subtract", "TextVectorization", "TimeDistributed", "UnitNormalization",
    "UpSampling1D", "UpSampling2D", "UpSampling3D", "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D",
})  # fmt: skip
_MODELS = frozenset({"Functional", "Sequential", "Model"})
# Parts that compute on tensors and take no code; "" is Keras itself.
_PARTS = ("initializers", "regularizers", "constraints", "activations", "losses", "metrics", "optimizers", "ops",
          "dtype_policies", "quantizers", "random")
_FUNCTIONS = ("activations", "losses", "metrics", "initializers", "regularizers")
_INNER = frozenset({"__keras_tensor__", "__tensor__", "__numpy__", "__tuple__", "__typespec__", "__ellipsis__", "slice",
                    "__dict__"})
_OF_KERAS = frozenset({"DTypePolicy", "FloatDTypePolicy", "DTypePolicyMap", "Variable", "KerasTensor"})
_LOOKUPS = frozenset({"StringLookup", "IntegerLookup", "TextVectorization", "IndexLookup"})
_OPERATIONS_WITH_CODE = frozenset({"Map", "Scan", "AssociativeScan", "WhileLoop", "ForiLoop", "Cond", "VectorizedMap"})


def findings(config: Any) -> Iterator[str]:
    """Everything in a model's configuration that is not known to be harmless, nested models included."""
    for part in objects(config):
        if "class_name" in part:
            yield from _named(part)


def _named(config: dict[str, Any]) -> Iterator[str]:
    name, module = config["class_name"], config.get("module")
    inner = config.get("config")
    label = inner.get("name") if isinstance(inner, dict) else inner
    told = f"{name} {label!r}" if label else str(name)
    if not isinstance(name, str) or name in ("Lambda", "__lambda__"):
        yield f"holds the Lambda layer {label!r}, which is code" if name == "Lambda" else "holds a lambda, code too"
    elif name == "function":
        if not _within(module, _FUNCTIONS):
            yield f"calls {module}.{label}"
    elif not _known(name, module) or ">" in str(config.get("registered_name") or ""):
        yield f"holds the custom object {told} of {module or 'no module'}"
    elif name in _LOOKUPS and isinstance(inner, dict) and isinstance(inner.get("vocabulary"), str):
        yield f"{told} reads its vocabulary from {inner['vocabulary']}"


def _known(name: str, module: Any) -> bool:
    if module is None:  # the .h5 format, and Keras' own inner values
        return name in LAYERS | _MODELS | _INNER or _is_part(name)
    if _within(module, ("layers",)):
        return name in LAYERS
    if _within(module, ("models",)) or module == "keras":
        return name in _MODELS | _OF_KERAS | LAYERS
    return _within(module, _PARTS) and name not in _OPERATIONS_WITH_CODE


def _is_part(name: str) -> bool:
    """The parts that Keras 2 named without their module."""
    return name in _OF_KERAS | {
        "GlorotUniform", "GlorotNormal", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform", "Zeros", "Ones",
        "Constant", "Orthogonal", "RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling", "Identity",
        "L1", "L2", "L1L2", "MaxNorm", "NonNeg", "UnitNorm", "MinMaxNorm", "Adam", "AdamW", "SGD", "RMSprop", "Adagrad",
        "Policy",
    }  # fmt: skip


def _within(module: Any, parts: tuple[str, ...]) -> bool:
    """Is this one of Keras' own modules of these names?"""
    path = str(module).split(".")
    if path[:2] == ["keras", "src"]:
        path = ["keras", *path[2:]]
    return len(path) > 1 and path[0] == "keras" and path[1] in parts


def config_of(path: Path) -> Any:
    """The model's configuration in a .h5 file; None when it holds weights only."""
    import h5py

    with h5py.File(path, "r") as file:
        said = file.attrs.get("model_config")
    return None if said is None else json.loads(said)


def outward(file: Path | BinaryIO) -> Iterator[str]:
    """Links and datasets of an HDF5 file that read other files of the machine."""
    import h5py

    with h5py.File(file, "r") as opened:
        yield from _outward(opened, h5py)


def _outward(group: Any, h5py: Any) -> Iterator[str]:
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            yield f"weights link to {link.filename}"
            continue
        if isinstance(link, h5py.SoftLink):
            continue
        found = group[name]
        if isinstance(found, h5py.Group):
            yield from _outward(found, h5py)
        elif found.external or found.is_virtual:
            yield f"weights {name} are read from another file"
