"""A run on one page that needs no network."""
