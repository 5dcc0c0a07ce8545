"""Census: its API, and runs of its syncs that are triggered once, waited for and judged."""
