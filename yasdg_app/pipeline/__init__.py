"""The streaming side: the timer that produces sales, the agent and table of the inventory, and where to resume."""
