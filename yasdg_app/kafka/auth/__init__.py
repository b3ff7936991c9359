"""Where the cluster is, who we are to it, and what it says if it does not let us in. Knows nothing of what is asked."""
