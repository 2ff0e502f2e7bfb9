"""Preparing a data set: every file checked, frames cached, labelled objects cut out."""
