"""Functions of one coordinate that an OpenSim model writes into its joints, evaluated on whole trials at once.

Axis legend: T frames, K knots.
"""

from __future__ import annotations

from collections.abc import Callable
from xml.etree.ElementTree import Element

import numpy as np

Function = Callable[[np.ndarray], np.ndarray]
"""Value of a function at coordinate values of any shape."""


def simm_spline(x_K: np.ndarray, y_K: np.ndarray) -> Function:
    """Cubic spline with the end conditions of SIMM and OpenSim, linear outside its knots.

    Second derivatives M solve the usual continuity rows h_i M_i + 2 (h_i + h_{i+1}) M_{i+1} + h_{i+1} M_{i+2} = 6 Δslope; at
    each end the third derivative is that of the cubic through the four outermost knots (Forsythe, Malcolm & Moler 1977,
    Computer Methods for Mathematical Computations, section 4.4), which needs four knots.

    Args:
        x_K: Knots, strictly increasing, at least four.
        y_K: Values at the knots.

    Raises:
        ValueError: fewer than four knots, different lengths or knots that do not increase.
    """
    if len(x_K) < 4 or len(x_K) != len(y_K) or np.any(np.diff(x_K) <= 0):
        raise ValueError(
            f"spline: expected at least 4 increasing knots with a value each, found {len(x_K)} and {len(y_K)}"
        )
    step, slope = np.diff(x_K), np.diff(y_K) / np.diff(x_K)
    count = len(x_K)
    rows, right = np.zeros((count, count)), np.zeros(count)
    for i in range(count - 2):
        rows[i + 1, i : i + 3] = step[i], 2.0 * (step[i] + step[i + 1]), step[i + 1]
        right[i + 1] = 6.0 * (slope[i + 1] - slope[i])
    for row, first, at in ((0, 0, 0), (count - 1, count - 4, count - 2)):
        outer = np.polyfit(x_K[first : first + 4] - x_K[first], y_K[first : first + 4], 3)
        rows[row, at : at + 2] = -1.0, 1.0
        right[row] = 6.0 * outer[0] * step[at]
    curve = np.linalg.solve(rows, right)
    first_slope = slope[0] - step[0] * (2.0 * curve[0] + curve[1]) / 6.0
    last_slope = slope[-1] + step[-1] * (curve[-2] + 2.0 * curve[-1]) / 6.0

    def evaluate(x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, dtype=float)
        i = np.clip(np.searchsorted(x_K, x, side="right") - 1, 0, count - 2)
        a, b = (x_K[i + 1] - x) / step[i], (x - x_K[i]) / step[i]
        inside = a * y_K[i] + b * y_K[i + 1]
        inside += ((a**3 - a) * curve[i] + (b**3 - b) * curve[i + 1]) * step[i] ** 2 / 6.0
        below, above = y_K[0] + first_slope * (x - x_K[0]), y_K[-1] + last_slope * (x - x_K[-1])
        return np.where(x < x_K[0], below, np.where(x > x_K[-1], above, inside))

    return evaluate


def read_function(path: str, element: Element) -> Function:
    """The function that an element of a model describes.

    Args:
        path: File name for the error text.
        element: Constant, LinearFunction, PolynomialFunction, SimmSpline, PiecewiseLinearFunction or MultiplierFunction.

    Raises:
        ValueError: any other function, or one without its numbers.
    """
    kind = element.tag
    if kind == "Constant":
        value = float(_text(path, element, "value"))
        return lambda x: np.full(np.shape(x), value)
    if kind == "LinearFunction":
        slope, offset = _numbers(path, element, "coefficients")[:2]
        return lambda x: slope * np.asarray(x, dtype=float) + offset
    if kind == "PolynomialFunction":
        coefficients = _numbers(path, element, "coefficients")
        return lambda x: np.polyval(coefficients, np.asarray(x, dtype=float))
    if kind == "MultiplierFunction":
        inner = element.find("function")
        if inner is None or len(inner) != 1:
            raise ValueError(
                f"{path}: MultiplierFunction: expected one inner function, found {0 if inner is None else len(inner)}"
            )
        scale, function = float(element.findtext("scale", "1")), read_function(path, inner[0])
        return lambda x: scale * function(x)
    if kind in ("SimmSpline", "PiecewiseLinearFunction"):
        knots, values = _numbers(path, element, "x"), _numbers(path, element, "y")
        if kind == "SimmSpline":
            return simm_spline(knots, values)
        return lambda x: np.interp(x, knots, values)
    raise ValueError(
        f"{path}: function '{kind}': expected Constant, LinearFunction, PolynomialFunction, SimmSpline, PiecewiseLinearFunction "
        "or MultiplierFunction; replace it in the model"
    )


def _text(path: str, element: Element, tag: str) -> str:
    text = element.findtext(tag)
    if text is None or not text.strip():
        raise ValueError(f"{path}: {element.tag}: expected <{tag}>, found none; export the model again")
    return text


def _numbers(path: str, element: Element, tag: str) -> np.ndarray:
    return np.array([float(word) for word in _text(path, element, tag).split()])
