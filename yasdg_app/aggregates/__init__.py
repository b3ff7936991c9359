"""Sums over windows of event time, for the views and the page."""
