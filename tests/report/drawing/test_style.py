"""A method has one colour and marker, which everybody can tell from the others."""

import numpy as np
import pytest


def test_a_method_keeps_its_colour():
    """Wrong: the colour depends on the order of rows, or two methods look alike."""
    from userbench.report.drawing.style import LOOKS, face, lightened, look

    named = {name: own for name, own in LOOKS.items() if name != "mlm"}
    assert len({own.colour for own in named.values()}) == len(named) == 10
    assert len({own.marker for own in named.values()}) == 10
    assert look("mlm") == look("peterrec")
    assert look("my_package.spans") == look("my_package.spans") != look("none")
    assert face("ccl", variant=True) == lightened(look("ccl").colour) != face("ccl", variant=False)


# Machado, Oliveira and Fernandes, IEEE TVCG 2009, severity 1, on linear RGB.
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
XYZ = [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
]


def seen(colour, deficiency):
    """CIELAB coordinates (D65) of a colour as somebody sees it."""
    from matplotlib.colors import to_rgb

    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    light = XYZ @ np.clip(np.array(DEFICIENCIES[deficiency]) @ linear, 0, 1)
    x, y, z = light / [0.95047, 1.0, 1.08883]
    f = [np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_colours_stay_apart_for_everybody(deficiency):
    """Wrong: two methods differ by a red and a green of the same brightness."""
    from userbench.report.drawing.style import LOOKS

    points = [seen(colour, deficiency) for colour in {own.colour for own in LOOKS.values()}]
    distances = [
        np.linalg.norm(one - other) for n, one in enumerate(points) for other in points[:n]
    ]
    assert min(distances) > 15  # 2.3 is just noticeable side by side
