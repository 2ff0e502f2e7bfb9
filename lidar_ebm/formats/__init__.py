"""Files of boxes, points and cameras, one module a format."""
