"""The worker's web server: page, views, health and metrics."""
