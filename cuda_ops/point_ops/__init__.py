"""Points near other points and near boxes: three nearest, interpolation, neighbourhoods, points in boxes' frames."""
