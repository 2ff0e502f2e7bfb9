"""One function a verb, which a notebook could call."""
