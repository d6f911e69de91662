"""Downloading: the files of published datasets, whole and right, or not there."""
