"""What all workers of a shop agree upon: its manifest, the control topic, downtime."""
