"""Makes the wheel's stub processes work with NumPy 2.

They were compiled with a pybind11 older than NumPy 2. It reads a dtype's item size where NumPy 2 stores the dtype's
flags, and finds 0: tensors are sent with no bytes, and each received one repeats its first item. This was fixed
upstream (python_backend #384), so the container does not need this file. NumPy 1 is no alternative: it has no wheels
for Python 3.13.

The last lines of the local copy of ``triton_python_backend_utils.py`` call `install`, which is before a stub
takes `Tensor` from its compiled module and before it looks up NumPy's C functions.
"""

import ctypes
from typing import Any

import c_python_backend_utils
import numpy as np
import numpy.core.multiarray
import triton_python_backend_utils

_FLAGS = 7  # the place of the flags in a dtype's pickled state
_NEW_FROM_DESCR = 94  # the place of PyArray_NewFromDescr in NumPy's table of C functions, and what it takes:
_NewFromDescr = ctypes.PYFUNCTYPE(
    ctypes.c_void_p,  # the new array
    ctypes.c_void_p,  # type
    ctypes.c_void_p,  # dtype
    ctypes.c_int,  # dimensions
    ctypes.c_void_p,  # shape
    ctypes.c_void_p,  # strides, or null for C order
    ctypes.c_void_p,  # data
    ctypes.c_int,  # flags
    ctypes.c_void_p,  # object
)
_Table = ctypes.c_void_p * 300  # more functions than any pybind11 reads, fewer than any NumPy 2 has
_capsule_get_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_capsule_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)
_kept_alive: list[Any] = []


def install() -> None:
    """Install both fixes: for received tensors and for sent ones."""
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        _correct_arriving()
        _correct_leaving()


def _correct_arriving() -> None:
    """Give old pybind11 a table of C functions in which new arrays have C order.

    The stub asks for no other order, but passes strides computed from the item size of 0. NumPy keeps this name in
    ``numpy.core`` only for old pybind11, so nothing else in the process is affected.
    """
    address = _capsule_get_pointer(numpy.core.multiarray._ARRAY_API, None)
    table = _Table.from_buffer_copy(_Table.from_address(address))
    original = _NewFromDescr(table[_NEW_FROM_DESCR] or 0)

    def in_c_order(kind, dtype, ndim, shape, _strides, data, flags, thing):  # type: ignore[no-untyped-def]
        return original(kind, dtype, ndim, shape, None, data, flags, thing)

    replacement = _NewFromDescr(in_c_order)
    table[_NEW_FROM_DESCR] = ctypes.cast(replacement, ctypes.c_void_p).value
    _kept_alive.extend([table, replacement])
    numpy.core.multiarray._ARRAY_API = _capsule_new(ctypes.addressof(table), None, None)


def _correct_leaving() -> None:
    """Give every array that becomes a tensor a dtype in which old pybind11 finds the item size."""
    create = c_python_backend_utils.Tensor.__init__
    serialize = triton_python_backend_utils.serialize_byte_tensor

    def create_tensor(self: Any, name: str, array: np.ndarray, *dtype: Any) -> None:
        create(self, name, _with_item_size(array), *dtype)

    def serialize_byte_tensor(array: np.ndarray) -> np.ndarray:
        return _with_item_size(np.frombuffer(serialize(array) or b"", np.uint8))

    c_python_backend_utils.Tensor.__init__ = create_tensor
    triton_python_backend_utils.serialize_byte_tensor = serialize_byte_tensor


def _with_item_size(array: np.ndarray) -> np.ndarray:
    """Return the same memory with a dtype whose flags are the item size.

    NumPy uses the flags too, so this array must only be passed to the stub.
    """
    if array.dtype.hasobject:
        return array
    array = np.asarray(array, order="C").view(np.dtype(array.dtype, copy=True))
    dtype: Any = array.dtype
    state = list(dtype.__reduce__()[2])
    state[_FLAGS] = dtype.itemsize
    dtype.__setstate__(tuple(state))
    return array
