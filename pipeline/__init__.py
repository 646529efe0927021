"""What happens to an event: pure functions and values, the ports, and one adapter file per technology."""
