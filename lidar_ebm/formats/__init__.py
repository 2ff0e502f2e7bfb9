"""Bytes to and from `Boxes`, points and cameras: one file a format."""
