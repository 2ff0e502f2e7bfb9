"""One HTML file that shows all of a run, and needs nothing beside it."""
