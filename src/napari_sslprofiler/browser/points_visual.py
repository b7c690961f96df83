"""Points for a million rows: places are uploaded once, a change of colours or of the selection is four bytes a row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from vispy import gloo
from vispy.scene.visuals import create_visual_node
from vispy.visuals import Visual

Colour = tuple[float, float, float]

# Entries of the palette's texture; a ramp needs 257.
PALETTE = 1024
# Up to here, what stands out is drawn after what does not; sorting more would cost more than it shows.
_ORDERED = 200_000

_VERTEX = """
attribute vec2 a_position;
attribute float a_code;  // place in the palette * 4 + look
uniform float u_size;
uniform float u_faint;
uniform float u_opacity;
uniform sampler2D u_palette;
varying vec4 v_colour;
varying float v_size;
varying float v_bright;

void main() {
    float place = floor(a_code / 4.0 + 0.001);
    float look = a_code - 4.0 * place;
    if (look > 2.5) {
        gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
        gl_PointSize = 0.0;
        v_colour = vec4(0.0);
        v_size = 1.0;
        v_bright = 0.0;
        return;
    }
    bool faint = look > 0.5 && look < 1.5;
    v_bright = look > 1.5 ? 1.0 : 0.0;
    vec3 colour = texture2D(u_palette, vec2((place + 0.5) / 1024.0, 0.5)).rgb;
    v_colour = vec4(colour, faint ? u_faint : (v_bright > 0.5 ? 1.0 : u_opacity));
    gl_Position = $transform(vec4(a_position, 0.0, 1.0));
    v_size = u_size * (v_bright > 0.5 ? 1.25 : 1.0);
    gl_PointSize = v_size;
}
"""

_FRAGMENT = """
uniform vec4 u_edge;
uniform vec3 u_ink;
varying vec4 v_colour;
varying float v_size;
varying float v_bright;

void main() {
    if (v_colour.a <= 0.0) discard;
    float alpha = v_colour.a;
    vec3 colour = v_colour.rgb;
    if (v_size > 2.6) {
        float r = length(gl_PointCoord - vec2(0.5)) * v_size;  // pixels from the centre
        float rim = 0.5 * v_size;
        alpha *= 1.0 - smoothstep(rim - 1.0, rim, r);
        if (alpha <= 0.0) discard;
        if (v_size > 5.0) {
            float edge = smoothstep(rim - 2.2, rim - 1.2, r);
            colour = v_bright > 0.5 ? mix(colour, u_ink, 0.9 * edge) : mix(colour, u_edge.rgb, u_edge.a * edge);
        }
    }
    gl_FragColor = vec4(colour, alpha);
}
"""


class PointsVisual(Visual):  # vispy wants the name to end so
    """GL points with a place in a palette and a look each (`density.PLAIN`, ``FAINT``, ``BRIGHT``, ``HIDDEN``)."""

    def __init__(self) -> None:
        super().__init__(_VERTEX, _FRAGMENT)
        self.unfreeze()
        self._draw_mode = "points"
        self._places = gloo.VertexBuffer(np.zeros((1, 2), np.float32))
        self._codes = gloo.VertexBuffer(np.zeros(1, np.float32))
        self._index_buffer = None
        self._shuffled = np.zeros(1, np.int64)
        self._count = 0
        self._palette = gloo.Texture2D(np.zeros((1, PALETTE, 4), np.uint8), interpolation="nearest")
        self.freeze()
        program = self.shared_program
        program["a_position"], program["a_code"] = self._places, self._codes
        program["u_palette"] = self._palette
        program["u_size"], program["u_faint"], program["u_opacity"] = 5.0, 0.14, 0.9
        program["u_edge"], program["u_ink"] = (0.0, 0.0, 0.0, 0.35), (1.0, 1.0, 1.0)
        self.set_gl_state("translucent", depth_test=False, blend=True, cull_face=False)

    def set_places(self, positions: NDArray[np.float32]) -> None:
        """Upload places, (N, 2); NaN is nowhere. Rows are drawn in a random order, so that no plate covers the rest."""
        self._count = len(positions)
        self._shuffled = np.random.default_rng(0).permutation(len(positions))
        places = np.nan_to_num(positions[self._shuffled], nan=1e30) if len(positions) else np.zeros((1, 2), np.float32)
        self._places.set_data(np.ascontiguousarray(places, np.float32))
        self._codes.set_data(np.full(max(self._count, 1), 3.0, np.float32))
        self._index_buffer = None
        self.update()

    def set_looks(self, codes: NDArray[np.uint16], looks: NDArray[np.uint8], palette: NDArray[np.uint8]) -> None:
        """Upload colours: places in the palette and looks, (N,) each, and the palette, (P, 3)."""
        if self._count == 0:
            return
        packed = (codes.astype(np.float32) * np.float32(4.0) + looks)[self._shuffled]
        self._codes.set_data(packed)
        texture = np.full((1, PALETTE, 4), 255, np.uint8)
        texture[0, : len(palette), :3] = palette[:PALETTE]
        self._palette.set_data(texture)
        self._index_buffer = None
        if self._count <= _ORDERED and looks.any():
            rank = np.array([1, 0, 2, 0], np.uint8)[looks[self._shuffled]]
            self._index_buffer = gloo.IndexBuffer(np.argsort(rank, kind="stable").astype(np.uint32))
        self.update()

    def set_style(self, size: float, background: Colour, ink: Colour) -> None:
        """Diameter in device pixels; rims are of the background's colour, those of rows that stand out of the ink's."""
        self.shared_program["u_size"] = float(size)
        self.shared_program["u_edge"] = (*background, 0.55)
        self.shared_program["u_ink"] = ink
        self.update()

    def _prepare_transforms(self, view: Any) -> None:
        view.view_program.vert["transform"] = view.transforms.get_transform()

    def _prepare_draw(self, view: Any) -> bool:
        return self._count > 0

    def _compute_bounds(self, axis: int, view: Any) -> tuple[float, float]:
        return (0.0, 1.0)


Points = create_visual_node(PointsVisual)
