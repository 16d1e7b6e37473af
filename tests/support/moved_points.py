"""Points moved by an OME-Zarr 0.6 scene of displacements, as its specification says to."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import zarr


class Scene06:
    """Reads by zarr and json alone; ``x_out = x + d(x)``, d linear between the field's points."""

    def __init__(self, path) -> None:
        self.path = Path(path)
        attributes = json.loads((self.path / "zarr.json").read_text())["attributes"]
        self.ome, self.about = attributes["ome"], attributes["steadystack"]
        self.systems = {s["name"]: s["axes"] for s in self.ome["scene"]["coordinateSystems"]}
        self.transformations = {
            (t["input"]["name"], t["output"]["name"]): t
            for t in self.ome["scene"]["coordinateTransformations"]
        }

    def read_field(self, start, end):
        """The array, its scale and its translation, of a field that begins at `start`."""
        told = self.transformations[start, end]
        assert (told["type"], told["interpolation"]) == ("displacements", "linear")
        group = zarr.open_group(self.path / told["path"], mode="r")
        (multiscale,) = group.attrs["ome"]["multiscales"]
        (system,), (dataset,) = multiscale["coordinateSystems"], multiscale["datasets"]
        kinds = [axis["type"] for axis in system["axes"]]
        assert kinds == ["time", "displacement", *["space"] * (len(kinds) - 2)]
        (placed,) = dataset["coordinateTransformations"]
        assert (placed["input"], placed["output"]) == ({"path": dataset["path"]}, {"name": start})
        steps = {t["type"]: t[t["type"]] for t in placed.get("transformations", [placed])}
        scale = np.array(steps["scale"])
        move = np.array(steps.get("translation", [0] * len(scale)))
        return group[dataset["path"]], scale, move

    def move(self, start, end, time, point) -> np.ndarray:
        """Where a point is moved to at a time; all in units of the axes, without time."""
        array, scale, move = self.read_field(start, end)
        row, place = (time - move[0]) / scale[0], (np.asarray(point) - move[2:]) / scale[2:]
        assert row == round(row)  # time is discrete
        assert ((place > -1e-9) & (place < np.array(array.shape[2:]) - 1 + 1e-9)).all(), place
        low = np.clip(np.floor(place), 0, np.array(array.shape[2:]) - 2).astype(int)
        field, found = array[round(row)], np.zeros(len(place) + 1)
        for corner in product((0, 1), repeat=len(place)):
            share = np.where(corner, place - low, 1 - (place - low)).prod()
            found += share * field[(slice(None), *(low + corner))]
        assert not found[0]
        return point + found[1:]
