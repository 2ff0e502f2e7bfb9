"""One function a verb of the command, which a notebook could call."""
