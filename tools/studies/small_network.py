"""The y part of f(x, y) for many models at once: values, slopes df/dy, and gradients of both (numba, CPU, one thread).

For one y, with c [W] what the first common layer gets from x, bias included:

    h0 = tanh(a y + b)        h1 = tanh(A h0 + c)        h2 = tanh(B h1 + b2) + h1
    h3 = tanh(C h2 + b3) + h2        f = w · h3 + v

A row's activations [W, S] are some tens of kilobytes. They are never kept for the way back: computing them again is
quicker than fetching them from memory. Loops run over a row's S candidates innermost, so that compilers vectorise them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, njit

WIDTH = 10
PARAMETERS = 3 * WIDTH * WIDTH + 5 * WIDTH + 1  # a, b, A, B, b2, C, b3, w, v in one row

Array = np.ndarray

# error_model: Python's own checks each division, which no vector instruction does.
_compiled: Any = njit(cache=True, nogil=True, fastmath=True, error_model="numpy")


@_compiled
def tanh(x: float) -> float:
    """tanh of a float32, within 4e-7: x P(x²) / Q(x²), a minimax fit of the relative error (2.1e-8) up to x = 9.

    The C library's is no vector operation, and a tenth as quick.
    """
    inside: Any = min(max(x, float32(-9.0)), float32(9.0))
    s = inside * inside
    p = float32(2.06081840647e-05) + s * float32(1.33534121402e-08)
    p = float32(0.999999979628) + s * (float32(0.133809811153) + s * (float32(3.49553449288e-03) + s * p))
    q = float32(3.28554625195e-04) + s * float32(7.77604675669e-07)
    q = float32(1.0) + s * (float32(0.467142967738) + s * (float32(2.58767799237e-02) + s * q))
    return inside * p / q


@_compiled
def values(y: Array, from_x: Array, parameters: Array, out: Array) -> None:
    """f [N, S] at y [N, S], from c [N, W] and the parameters [G, P] of G models of N / G rows each."""
    h0, h1, h2, h3 = _buffer(y), _buffer(y), _buffer(y), _buffer(y)
    for row in range(len(y)):
        a, b, A, B, b2, C, b3, w, v = _unpack(parameters[row * len(parameters) // len(y)])
        _forward(y[row], from_x[row], a, b, A, B, b2, C, b3, h0, h1, h2, h3)
        _combine(w, v[0], h3, out[row])


@_compiled
def value_gradients(
    y: Array, from_x: Array, parameters: Array, gradient: Array, to_x: Array, to_parameters: Array
) -> None:
    """Gradients of Σ gradient · f to c [N, W], and, added to what is there, to parameters [G, P]."""
    h0, h1, h2, h3 = _buffer(y), _buffer(y), _buffer(y), _buffer(y)
    back, delta = _buffer(y), _buffer(y)
    for row in range(len(y)):
        model = row * len(parameters) // len(y)
        a, b, A, B, b2, C, b3, w, _ = _unpack(parameters[model])
        ga, gb, gA, gB, gb2, gC, gb3, gw, gv = _unpack(to_parameters[model])
        _forward(y[row], from_x[row], a, b, A, B, b2, C, b3, h0, h1, h2, h3)
        _last_gradients(gradient[row], h3, gw, gv)
        _scale(w, gradient[row], back)
        _through_tanh(back, h3, h2, delta)
        _layer_gradients(delta, h2, gC, gb3)
        _add_back(C, delta, back)
        _through_tanh(back, h2, h1, delta)
        _layer_gradients(delta, h1, gB, gb2)
        _add_back(B, delta, back)
        _through_first_tanh(back, h1, delta)
        to_x[row] = 0
        _layer_gradients(delta, h0, gA, to_x[row])
        back[:] = 0
        _add_back(A, delta, back)
        _through_first_tanh(back, h0, delta)
        _first_gradients(delta, y[row], ga, gb)


@_compiled
def slopes(y: Array, from_x: Array, parameters: Array, out: Array) -> None:
    """df/dy [N, S]: each layer's derivative s along with its h (s0 = dh0/dy, ...)."""
    h0, h1, h2, h3 = _buffer(y), _buffer(y), _buffer(y), _buffer(y)
    s0, s1, s2, s3 = _buffer(y), _buffer(y), _buffer(y), _buffer(y)
    z = _buffer(y)
    for row in range(len(y)):
        a, b, A, B, b2, C, b3, w, _ = _unpack(parameters[row * len(parameters) // len(y)])
        _forward(y[row], from_x[row], a, b, A, B, b2, C, b3, h0, h1, h2, h3)
        _first_slope(a, h0, s0)
        _product(A, s0, z)
        _through_first_tanh(z, h1, s1)
        _product(B, s1, z)
        _residual_slope(z, h2, h1, s1, s2)
        _product(C, s2, z)
        _residual_slope(z, h3, h2, s2, s3)
        _combine(w, float32(0.0), s3, out[row])


@_compiled
def slope_gradients(
    y: Array, from_x: Array, parameters: Array, gradient: Array, to_y: Array, to_x: Array, to_parameters: Array
) -> None:
    """Gradients of Σ gradient · df/dy to y [N, S] and c [N, W], and, added to what is there, to parameters [G, P]."""
    h0, h1, h2, h3 = _buffer(y), _buffer(y), _buffer(y), _buffer(y)
    s0, s1, s2, s3 = _buffer(y), _buffer(y), _buffer(y), _buffer(y)
    z1, z2, z3, back_h = _buffer(y), _buffer(y), _buffer(y), _buffer(y)
    back_s, delta_h, delta_s = _buffer(y), _buffer(y), _buffer(y)
    nothing = np.zeros(WIDTH, np.float32)  # where sums go that have no parameter
    for row in range(len(y)):
        model = row * len(parameters) // len(y)
        a, b, A, B, b2, C, b3, w, _ = _unpack(parameters[model])
        ga, gb, gA, gB, gb2, gC, gb3, gw, _ = _unpack(to_parameters[model])
        _forward(y[row], from_x[row], a, b, A, B, b2, C, b3, h0, h1, h2, h3)
        _first_slope(a, h0, s0)
        _product(A, s0, z1)
        _through_first_tanh(z1, h1, s1)
        _product(B, s1, z2)
        _residual_slope(z2, h2, h1, s1, s2)
        _product(C, s2, z3)
        _residual_slope(z3, h3, h2, s2, s3)

        _last_gradients(gradient[row], s3, gw, nothing)
        _scale(w, gradient[row], back_s)
        back_h[:] = 0
        _slope_through_tanh(back_h, back_s, z3, h3, h2, delta_h, delta_s)
        _layer_gradients(delta_h, h2, gC, gb3)
        _layer_gradients(delta_s, s2, gC, nothing)
        _add_back(C, delta_h, back_h)
        _add_back(C, delta_s, back_s)
        _slope_through_tanh(back_h, back_s, z2, h2, h1, delta_h, delta_s)
        _layer_gradients(delta_h, h1, gB, gb2)
        _layer_gradients(delta_s, s1, gB, nothing)
        _add_back(B, delta_h, back_h)
        _add_back(B, delta_s, back_s)
        h3[:] = 0  # not needed any more: the first common layer adds nothing to its tanh
        _slope_through_tanh(back_h, back_s, z1, h1, h3, delta_h, delta_s)
        to_x[row] = 0
        _layer_gradients(delta_h, h0, gA, to_x[row])
        _layer_gradients(delta_s, s0, gA, nothing)
        back_h[:] = 0
        back_s[:] = 0
        _add_back(A, delta_h, back_h)
        _add_back(A, delta_s, back_s)
        # s0 = a (1 - h0²): the slope of z0 = a y + b is a itself.
        for i in range(WIDTH):
            for s in range(y.shape[1]):
                z1[i, s] = a[i]
        _slope_through_tanh(back_h, back_s, z1, h0, h3, delta_h, delta_s)
        _first_gradients(delta_h, y[row], ga, gb)
        for i in range(WIDTH):
            for s in range(y.shape[1]):
                ga[i] += delta_s[i, s]
        _combine(a, float32(0.0), delta_h, to_y[row])


@_compiled
def _buffer(y: Array) -> Array:
    """[W, S]. One each: loops over views that were unpacked from one array are not vectorised."""
    return np.empty((WIDTH, y.shape[1]), np.float32)


@_compiled
def _unpack(row: Array) -> tuple:
    """a, b, A, B, b2, C, b3, w, v: views of a row [P]."""
    W, square = WIDTH, WIDTH * WIDTH
    start = 2 * W + square
    A = row[2 * W : start].reshape(W, W)
    B, b2 = row[start : start + square].reshape(W, W), row[start + square : start + square + W]
    start += square + W
    C, b3 = row[start : start + square].reshape(W, W), row[start + square : start + square + W]
    start += square + W
    return row[:W], row[W : 2 * W], A, B, b2, C, b3, row[start : start + W], row[start + W : start + W + 1]


@_compiled
def _forward(
    y: Array,
    c: Array,
    a: Array,
    b: Array,
    A: Array,
    B: Array,
    b2: Array,
    C: Array,
    b3: Array,
    h0: Array,
    h1: Array,
    h2: Array,
    h3: Array,
) -> None:
    for i in range(WIDTH):
        weight, bias = a[i], b[i]
        for s in range(len(y)):
            h0[i, s] = tanh(weight * y[s] + bias)
    _tanh_layer(A, c, h0, h1)
    _tanh_layer(B, b2, h1, h2)
    _add(h1, h2)
    _tanh_layer(C, b3, h2, h3)
    _add(h2, h3)


@_compiled
def _tanh_layer(weight: Array, bias: Array, below: Array, out: Array) -> None:
    """tanh(weight · below + bias)."""
    for i in range(WIDTH):
        for s in range(below.shape[1]):
            z = bias[i]
            for j in range(WIDTH):
                z += weight[i, j] * below[j, s]
            out[i, s] = tanh(z)


@_compiled
def _product(weight: Array, below: Array, out: Array) -> None:
    """weight · below."""
    for i in range(WIDTH):
        for s in range(below.shape[1]):
            z = float32(0.0)
            for j in range(WIDTH):
                z += weight[i, j] * below[j, s]
            out[i, s] = z


@_compiled
def _add_back(weight: Array, above: Array, out: Array) -> None:
    """out += weightᵀ · above."""
    for j in range(WIDTH):
        for s in range(above.shape[1]):
            z = out[j, s]
            for i in range(WIDTH):
                z += weight[i, j] * above[i, s]
            out[j, s] = z


@_compiled
def _add(terms: Array, out: Array) -> None:
    for i in range(WIDTH):
        for s in range(out.shape[1]):
            out[i, s] += terms[i, s]


@_compiled
def _combine(weight: Array, bias: float, below: Array, out: Array) -> None:
    """The last layer: [S]."""
    for s in range(len(out)):
        z = bias
        for j in range(WIDTH):
            z += weight[j] * below[j, s]
        out[s] = z


@_compiled
def _scale(weight: Array, gradient: Array, out: Array) -> None:
    """The last layer's way back."""
    for i in range(WIDTH):
        for s in range(len(gradient)):
            out[i, s] = weight[i] * gradient[s]


@_compiled
def _through_tanh(back: Array, h: Array, below: Array, out: Array) -> None:
    """back · tanh', where h = tanh + below."""
    for i in range(WIDTH):
        for s in range(back.shape[1]):
            t = h[i, s] - below[i, s]
            out[i, s] = back[i, s] * (float32(1.0) - t * t)


@_compiled
def _through_first_tanh(back: Array, t: Array, out: Array) -> None:
    """back · tanh', where t = tanh."""
    for i in range(WIDTH):
        for s in range(back.shape[1]):
            out[i, s] = back[i, s] * (float32(1.0) - t[i, s] * t[i, s])


@_compiled
def _first_slope(a: Array, h0: Array, out: Array) -> None:
    for i in range(WIDTH):
        for s in range(h0.shape[1]):
            out[i, s] = a[i] * (float32(1.0) - h0[i, s] * h0[i, s])


@_compiled
def _residual_slope(z: Array, h: Array, below: Array, slope_below: Array, out: Array) -> None:
    """Slope of h = tanh + below, from that of what tanh is taken of (z) and that of below."""
    for i in range(WIDTH):
        for s in range(z.shape[1]):
            t = h[i, s] - below[i, s]
            out[i, s] = (float32(1.0) - t * t) * z[i, s] + slope_below[i, s]


@_compiled
def _slope_through_tanh(
    back_h: Array, back_s: Array, z: Array, h: Array, below: Array, out_h: Array, out_s: Array
) -> None:
    """Way back through t = h - below = tanh(u) and its slope (1 - t²) z: to u and to z, the slope of u."""
    for i in range(WIDTH):
        for s in range(z.shape[1]):
            t = h[i, s] - below[i, s]
            steepness = float32(1.0) - t * t
            out_h[i, s] = steepness * (back_h[i, s] - float32(2.0) * t * z[i, s] * back_s[i, s])
            out_s[i, s] = steepness * back_s[i, s]


@_compiled
def _layer_gradients(delta: Array, below: Array, weight: Array, bias: Array) -> None:
    """weight += delta · belowᵀ; bias += the sums of delta."""
    for i in range(WIDTH):
        total = float32(0.0)
        for s in range(delta.shape[1]):
            total += delta[i, s]
        bias[i] += total
        for j in range(WIDTH):
            total = float32(0.0)
            for s in range(delta.shape[1]):
                total += delta[i, s] * below[j, s]
            weight[i, j] += total


@_compiled
def _first_gradients(delta: Array, y: Array, weight: Array, bias: Array) -> None:
    for i in range(WIDTH):
        to_weight, to_bias = float32(0.0), float32(0.0)
        for s in range(len(y)):
            to_weight += delta[i, s] * y[s]
            to_bias += delta[i, s]
        weight[i] += to_weight
        bias[i] += to_bias


@_compiled
def _last_gradients(gradient: Array, h3: Array, weight: Array, bias: Array) -> None:
    total = float32(0.0)
    for s in range(len(gradient)):
        total += gradient[s]
    bias[0] += total
    for j in range(WIDTH):
        total = float32(0.0)
        for s in range(len(gradient)):
            total += gradient[s] * h3[j, s]
        weight[j] += total
