"""The Faust side: the timer that rings up sales, the agent and table of the inventory, where positions come from."""
