"""What all workers of a shop agree on: its manifest, the control topic, skipped downtime."""
