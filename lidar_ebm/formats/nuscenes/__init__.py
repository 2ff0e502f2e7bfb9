"""Formats of nuScenes: tables, results, and the info files of other toolboxes."""
