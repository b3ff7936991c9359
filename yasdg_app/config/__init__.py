"""The configuration: reading it, its rules, and the catalog of products."""
