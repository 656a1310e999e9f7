"""Ours and others, side by side, against a server in a container where that can be had."""
