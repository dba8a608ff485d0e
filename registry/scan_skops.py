"""What in a .skops file could run code? An allow-list of the kinds of node and of the modules that types come from.

skops writes the tree of an object as JSON: each node says which of its loaders reads it, and names a type or function.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from registry.nested import objects

_PLAIN = frozenset({"DictNode", "DefaultDictNode", "ListNode", "TupleNode", "SetNode", "JsonNode", "BytesNode",
                    "BytearrayNode", "SliceNode", "CachedNode", "NdArrayNode", "MaskedArrayNode", "SparseMatrixNode",
                    "RandomStateNode", "RandomGeneratorNode", "DTypeNode", "DatetimeTimedeltaNode"})
_OBJECTS = frozenset({"ObjectNode", "TypeNode", "TreeNode", "LossNode", "SGDNode", "QuadTreeNode", "ReduceNode"})
_FUNCTIONS = frozenset({"FunctionNode", "PartialNode", "MethodNode", "OperatorFuncNode"})
_BUILTINS = frozenset({"bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object",
                       "set", "slice", "str", "tuple", "range", "NoneType"})
# sklearn's doors to files, the network and other formats.
_DOORS = ("sklearn.datasets", "sklearn.externals", "sklearn.utils._testing", "sklearn.utils._joblib", "numpy.f2py",
          "numpy.testing", "numpy.ctypeslib", "numpy.distutils", "scipy.io", "scipy.datasets")
_CALLED = ("numpy", "scipy.special", "functools")
_NOT_CALLED = frozenset({"load", "fromfile", "loadtxt", "genfromtxt", "memmap", "save", "savez", "savetxt",
                         "frompyfunc", "vectorize", "apply_along_axis", "apply_over_axes", "fromregex", "DataSource"})

# HistGradientBoosting with categories of its own holds it for its other columns: it looks at an array, and no more.
_ALSO_CALLED = frozenset({("sklearn.utils.validation", "check_array")})


def findings(schema: Any) -> Iterator[str]:
    """Everything in the tree that is not known to be harmless."""
    for node in objects(schema):
        if "__loader__" in node:
            yield from _node(node)


def _node(node: dict[str, Any]) -> Iterator[str]:
    loader, module, name = node["__loader__"], str(node.get("__module__")), str(node.get("__class__"))
    if loader in _FUNCTIONS:
        if not _may_be_called(node, module, name):
            yield f"calls {module}.{name}"
    elif loader not in _PLAIN | _OBJECTS:
        yield f"holds a node of the kind {loader}"
    elif not _is_type(module, name):
        yield f"holds the custom object {module}.{name}"


def _may_be_called(node: dict[str, Any], module: str, name: str) -> bool:
    if node["__loader__"] == "PartialNode":
        return (module, name) == ("functools", "partial")
    known = (module, name) in _ALSO_CALLED or (module in _CALLED and name not in _NOT_CALLED)
    return known and node["__loader__"] == "FunctionNode"


def _is_type(module: str, name: str) -> bool:
    if module == "builtins":
        return name in _BUILTINS
    if any(module == door or module.startswith(f"{door}.") for door in _DOORS):
        return False
    return module.split(".")[0] in ("sklearn", "numpy", "scipy") or (module, name) in (
        ("collections", "OrderedDict"), ("collections", "defaultdict"), ("datetime", "timedelta"))
