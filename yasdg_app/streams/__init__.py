"""The Faust side: topics, the timer that rings up sales, the agent that keeps the inventory, and where positions come from."""
