"""Random changes of training frames."""
